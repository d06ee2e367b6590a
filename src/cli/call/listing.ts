/** Shared by listing commands: tenant, times, limit, and paging up to the limit. */
import { usage, wholeNumber, type Arguments, type Flags } from "../terminal/command.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { parseTime, timeRule } from "../terminal/time.ts";

export const tenantFlag = {
  tenant: {
    value: "NAME",
    about: 'The tenant to read; default your own. Another takes Root of "system".',
  },
} as const satisfies Flags;

const limitDefault = 50;
const limitMax = 100_000;
const pageSizeMax = 1000;

export const limitFlag = {
  limit: { value: "N", about: `The most to list; default ${limitDefault}.` },
} as const satisfies Flags;

export const timeText = (time: Date | undefined): string => time?.toISOString() ?? "–";

/** Parses a date or time; default zone UTC. @throws usage. */
export const timeOf = (given: Arguments, flag: string): Date | undefined => {
  const text = given.text(flag);
  return text === undefined ? undefined : (parseTime(text) ?? usage(`--${flag} must be ${timeRule}`));
};

type Page<Item> = { readonly items: readonly Item[]; readonly nextPageToken: string };
type ReadPage<Item> = (page: {
  readonly pageSize: number;
  readonly pageToken: string;
}) => Promise<Page<Item>>;

/** @throws usage. */
export const limitOf = (given: Arguments): number =>
  wholeNumber(given.text("limit") ?? String(limitDefault), "limit", [1, limitMax]);

/** Reads pages until `limit` items or the end. */
export const listAll = async <Item>(
  limit: number,
  terminal: Terminal,
  readPage: ReadPage<Item>,
): Promise<readonly Item[]> => {
  const listed: Item[] = [];
  let pageToken = "";
  do {
    const pageSize = Math.min(pageSizeMax, limit - listed.length);
    const page = await readPage({ pageSize, pageToken });
    for (const item of page.items) listed.push(item);
    pageToken = page.nextPageToken;
    terminal.progress(`${listed.length} listed`);
  } while (pageToken !== "" && listed.length < limit);
  terminal.progress("");
  return listed;
};
