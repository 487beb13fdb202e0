export { english as traditionalChinese } from './en';
