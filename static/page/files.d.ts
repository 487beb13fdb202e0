/** The address of a file that the bundler copies. */
declare module '*.svg' {
  const address: string;
  export default address;
}

declare module '*?url' {
  const address: string;
  export default address;
}

declare module '*.css';
