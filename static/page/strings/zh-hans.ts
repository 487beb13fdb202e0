export { english as simplifiedChinese } from './en';
