/** Numbers and quantities as a language writes them. */
export interface Formats {
  readonly count: (value: number) => string;
  readonly hundredths: (value: number) => string;
  /** 0 to 1. */
  readonly share: (value: number) => string;
  /** In MB, and from a thousand of them on in GB. */
  readonly amount: (bytes: number) => string;
  readonly megabytes: (bytes: number) => string;
  /** The same without the unit. */
  readonly megabyteCount: (bytes: number) => string;
  readonly bytesPerSecond: (bytes: number) => string;
  /** One digit after the point where the number is small. */
  readonly rate: (perSecond: number) => string;
  readonly duration: (seconds: number) => string;
}

export function formatsOf(locale: string): Formats {
  const plain = (maximumFractionDigits: number) => {
    const format = new Intl.NumberFormat(locale, { maximumFractionDigits });
    return (value: number) => format.format(value);
  };
  const unit = (name: string, maximumFractionDigits: number) => {
    const style = { style: 'unit', unit: name, unitDisplay: 'short' } as const;
    const format = new Intl.NumberFormat(locale, { ...style, maximumFractionDigits });
    return (value: number) => format.format(value);
  };
  const percent = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 });
  const [count, tenths] = [plain(0), plain(1)];
  const [mega, giga] = [unit('megabyte', 1), unit('gigabyte', 1)];
  const megaPerSecond = unit('megabyte-per-second', 1);
  const [seconds, minutes, hours] = [unit('second', 0), unit('minute', 0), unit('hour', 1)];
  return {
    count,
    hundredths: plain(2),
    share: (value) => percent.format(value),
    amount: (bytes) => (bytes < 1e9 ? mega(bytes / 1e6) : giga(bytes / 1e9)),
    megabytes: (bytes) => mega(bytes / 1e6),
    megabyteCount: (bytes) => tenths(bytes / 1e6),
    bytesPerSecond: (bytes) => megaPerSecond(bytes / 1e6),
    rate: (perSecond) => (perSecond < 10 ? tenths : count)(perSecond),
    duration: (time) => {
      if (time < 90) return seconds(time);
      return time < 90 * 60 ? minutes(time / 60) : hours(time / 3600);
    },
  };
}

/** Messages of the runtime can be a page long. */
export function shorten(text: string): string {
  const sentence = text.replace(/\s+/g, ' ').trim();
  return sentence.length > 140 ? `${sentence.slice(0, 139)}…` : `${sentence.replace(/\.$/, '')}.`;
}

/** Those that are there, with a dot between them. */
export function dotted(parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null).join(' · ');
}
