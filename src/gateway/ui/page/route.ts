/** What the page shows, by what stands after # in its address: ids and names alone, never a token. Pure. */

export type Route =
  | { readonly kind: "decisions" | "proposals" | "ledger" }
  | { readonly kind: "decision"; readonly id: string; readonly tenant: string }
  | { readonly kind: "proposal"; readonly id: string };

/** @param tenant empty for the caller's own. */
export const decisionAddress = (id: string, tenant: string): string => {
  const place = `#/decisions/${encodeURIComponent(id)}`;
  return tenant === "" ? place : `${place}/${encodeURIComponent(tenant)}`;
};

export const proposalAddress = (id: string): string => `#/proposals/${encodeURIComponent(id)}`;

const decoded = (text: string | undefined): string => {
  try {
    return decodeURIComponent(text ?? "");
  } catch {
    return "";
  }
};

/** What it does not know is the list of decisions. */
export const parseRoute = (hash: string): Route => {
  const [name, id, tenant] = hash.replace(/^#\/?/, "").split("/");
  if (name === "ledger") return { kind: "ledger" };
  if (name === "proposals")
    return id === undefined ? { kind: "proposals" } : { kind: "proposal", id: decoded(id) };
  if (name === "decisions" && id !== undefined)
    return { kind: "decision", id: decoded(id), tenant: decoded(tenant) };
  return { kind: "decisions" };
};
