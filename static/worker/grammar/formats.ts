/** Formats of strings that are held, as patterns: RFC 3339, 5321, 1123, 2673, 4291 and 4122. */

const DATE =
  '[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))';
const HOUR_MINUTE = '(?:[01][0-9]|2[0-3]):[0-5][0-9]';
const TIME = `${HOUR_MINUTE}:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?(?:[Zz]|[+\\-]${HOUR_MINUTE})`;
const SECONDS = '[0-9]+S';
const MINUTES = `[0-9]+M(?:${SECONDS})?`;
const HOURS = `[0-9]+H(?:${MINUTES})?`;
const DAYS = '[0-9]+D';
const MONTHS = `[0-9]+M(?:${DAYS})?`;
const YEARS = `[0-9]+Y(?:${MONTHS})?`;
const CLOCK = `T(?:${HOURS}|${MINUTES}|${SECONDS})`;
const DURATION = `P(?:(?:${YEARS}|${MONTHS}|${DAYS})(?:${CLOCK})?|${CLOCK}|[0-9]+W)`;
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?';
const HOSTNAME = `${LABEL}(?:\\.${LABEL})*`;
const BYTE = '(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])';
const IPV4 = `(?:${BYTE}\\.){3}${BYTE}`;
const ATOM = "[a-zA-Z0-9!#$%&'*+\\-/=?\\^_`{|}~]+";
const DOMAIN_LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?';
const DOMAIN = `${DOMAIN_LABEL}(?:\\.${DOMAIN_LABEL})*`;
const EMAIL = `${ATOM}(?:\\.${ATOM})*@(?:${DOMAIN}|\\[${IPV4}\\])`;
const UUID = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}';
const WORD = '[0-9a-fA-F]{1,4}';
const IPV6 = [
  `(?:${WORD}:){7}${WORD}`,
  `(?:${WORD}:){1,7}:`,
  ...[6, 5, 4, 3, 2].map((before) => `(?:${WORD}:){1,${before}}(?::${WORD}){1,${7 - before}}`),
  `${WORD}:(?::${WORD}){1,6}`,
  `:(?:(?::${WORD}){1,7}|:)`,
].join('|');

export const FORMATS: Readonly<Record<string, string>> = {
  'date-time': `${DATE}[Tt]${TIME}`,
  time: TIME,
  date: DATE,
  duration: DURATION,
  email: EMAIL,
  hostname: HOSTNAME,
  ipv4: IPV4,
  ipv6: IPV6,
  uuid: UUID,
};
