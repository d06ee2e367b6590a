/**
 * Whether a source passed records off as erased: their leaves are right, so the tree cannot tell, but the ledger's
 * reports of erasures count what was erased. While an order waits for its report nobody knows. Pure.
 */

export type Withheld = { readonly erased: bigint; readonly reported: bigint };

export type Erasures = Withheld & {
  /** Orders without a report. */
  readonly open: bigint;
};

/** @returns undefined unless there are more erased places than reports account for. */
export const withheldBy = ({ erased, reported, open }: Erasures): Withheld | undefined =>
  open > 0n || erased <= reported ? undefined : { erased, reported };

const field = (payload: unknown, name: string): unknown =>
  typeof payload === "object" && payload !== null
    ? (payload as Readonly<Record<string, unknown>>)[name]
    : undefined;

/** A count of a view: a number, or decimal text where it is large. */
const countIn = (payload: unknown): bigint => {
  const count = field(payload, "records");
  return typeof count === "number" || (typeof count === "string" && /^\d+$/.test(count)) ? BigInt(count) : 0n;
};

/** @param orders, reports payloads as the view has them. */
export const countErasures = ({
  erased,
  orders,
  reports,
}: {
  readonly erased: bigint;
  readonly orders: readonly unknown[];
  readonly reports: readonly unknown[];
}): Erasures => {
  const reported = new Set(reports.map((payload) => field(payload, "tenant")));
  return {
    erased,
    reported: reports.reduce<bigint>((sum, payload) => sum + countIn(payload), 0n),
    open: BigInt(orders.filter((payload) => !reported.has(field(payload, "tenant"))).length),
  };
};
