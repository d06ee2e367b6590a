/** What was erased, and what the ledger says of it: for `withheldBy`. */
import type pg from "pg";
import type { Erasures } from "../withheld.ts";

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

export const erasuresOf = async (client: pg.Client, schema: string): Promise<Erasures> => {
  const { rows } = await client.query<Erasures>(counts(schema));
  return rows[0] ?? { erased: 0n, reported: 0n, open: 0n };
};
