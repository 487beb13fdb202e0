/** What time it is. */
import { ToolError } from './tool';
import type { PageTool } from './tool';

export const CLOCK: PageTool = {
  name: 'now',
  description: 'Get the current date, time and weekday.',
  parameters: JSON.stringify({
    type: 'object',
    properties: {
      zone: {
        type: 'string',
        description: 'Time zone like Europe/Oslo or UTC; empty for the local one',
        maxLength: 40,
      },
    },
  }),
  run: ({ zone }) => tell(new Date(), typeof zone === 'string' ? zone.trim() : ''),
};

/** JSON with date, time, weekday and zone. Throws a ToolError for a zone that is none. */
export function tell(moment: Date, zone: string): string {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-GB', {
      ...{ year: 'numeric', month: '2-digit', day: '2-digit', weekday: 'long' },
      ...{ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
      ...(zone !== '' && { timeZone: zone }),
    });
  } catch {
    throw new ToolError(`There is no time zone '${zone}'. One is like Europe/Oslo or UTC.`);
  }
  const part = Object.fromEntries(
    format.formatToParts(moment).map(({ type, value }) => [type, value]),
  );
  return JSON.stringify({
    date: `${part['year']}-${part['month']}-${part['day']}`,
    time: `${part['hour']}:${part['minute']}:${part['second']}`,
    weekday: part['weekday'],
    zone: format.resolvedOptions().timeZone,
  });
}
