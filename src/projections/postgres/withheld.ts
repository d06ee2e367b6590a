/**
 * Whether a source passed records off as erased: their leaves are right, so the tree cannot tell, but the ledger's
 * reports of erasures count what was erased. While an order waits for its report nobody knows.
 */
import type pg from "pg";

export type Withheld = { readonly erased: bigint; readonly reported: bigint };

const counts = (schema: string): string => `
  WITH orders AS (
    SELECT payload->>'tenant' AS tenant FROM ${schema}.record_versions WHERE kind = 'erasure' AND space = 'system'
  ), reports AS (
    SELECT payload->>'tenant' AS tenant, (payload->>'records')::numeric AS records
      FROM ${schema}.record_versions WHERE kind = 'erased' AND space = 'system'
  )
  SELECT (SELECT count(*) FROM ${schema}.record_versions WHERE erased) AS erased,
         (SELECT coalesce(sum(records), 0)::bigint FROM reports) AS reported,
         (SELECT count(*) FROM orders WHERE tenant NOT IN (SELECT tenant FROM reports)) AS open`;

/** @returns undefined unless there are more erased places than reports account for. */
export const withheldIn = async (client: pg.Client, schema: string): Promise<Withheld | undefined> => {
  const { rows } = await client.query<Withheld & { readonly open: bigint }>(counts(schema));
  const [found] = rows;
  if (found === undefined || found.open > 0n || found.erased <= found.reported) return undefined;
  return { erased: found.erased, reported: found.reported };
};
