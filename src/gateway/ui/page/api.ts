/**
 * Calls of the HTTP API of the page's own origin, with the token that a person gave: GET, and simulations, so nothing
 * is changed. The token is in this closure alone, never in a URL, in storage or in a log.
 */
import { problemOf, unreachable, type Ask, type Outcome, type Query } from "./problem.ts";

const withQuery = (path: string, query: Query): string => {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  return given.size === 0 ? path : `${path}?${given.toString()}`;
};

const send = async <Body>(url: string, init: RequestInit): Promise<Outcome<Body>> => {
  try {
    const response = await fetch(url, {
      ...init,
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
    if (response.ok) return { kind: "answer", body: (await response.json()) as Body };
    const body: unknown = await response.json().catch(() => undefined);
    return {
      kind: "problem",
      problem: problemOf(response.status, body, response.headers.get("retry-after")),
    };
  } catch (error) {
    return { kind: "problem", problem: unreachable(String(error)) };
  }
};

/** @param token undefined for an anonymous Guest. */
export const asking = (token: string | undefined): Ask => {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return {
    get: (path, query, signal) => send(withQuery(path, query), { headers: authorization, signal }),
    simulate: (body, signal) =>
      send("/trust/simulate", {
        method: "POST",
        headers: { ...authorization, "content-type": "application/json" },
        body: JSON.stringify(body),
        signal,
      }),
  };
};
