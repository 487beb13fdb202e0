import { CALCULATOR } from './calculator';
import { CLOCK } from './clock';
import type { PageTool } from './tool';
import { CONVERTER } from './units';

/** What the page offers a model, if one lets it. */
export const PAGE_TOOLS: readonly PageTool[] = [CLOCK, CALCULATOR, CONVERTER];
