/** What a view has asked the API for, as it stands now. */
import { useEffect, useState } from "preact/hooks";
import type { Ask, Outcome, Query } from "./problem.ts";

export type Asked<Body> = {
  /** Undefined while it is under way. */
  readonly outcome: Outcome<Body> | undefined;
  /** Milliseconds that the answer took. */
  readonly tookMs: number;
};

type Wanted = { readonly path: string; readonly query?: Query } | undefined;

const none = { outcome: undefined, tookMs: 0 } as const;

const useOutcome = <Body>(
  key: string,
  ask: Ask,
  call: ((signal: AbortSignal) => Promise<Outcome<Body>>) | undefined,
): Asked<Body> => {
  const [asked, setAsked] = useState<Asked<Body> & { readonly key: string; readonly ask: Ask }>();
  useEffect(() => {
    if (call === undefined) return;
    const abort = new AbortController();
    const beganMs = performance.now();
    void call(abort.signal).then((outcome) => {
      if (!abort.signal.aborted) setAsked({ key, ask, outcome, tookMs: performance.now() - beganMs });
    });
    return () => abort.abort();
  }, [ask, key]);
  // What one caller was answered is never shown to the next.
  return asked?.key === key && asked.ask === ask ? asked : none;
};

/** @param again asks once more when it changes, and shows the answer before meanwhile. */
export const useGet = <Body>(ask: Ask, wanted: Wanted, again = 0): Asked<Body> => {
  const [last, setLast] = useState<{
    readonly name: string;
    readonly ask: Ask;
    readonly asked: Asked<Body>;
  }>();
  const name = wanted === undefined ? "" : JSON.stringify(wanted);
  const asked = useOutcome<Body>(
    `${name} ${again}`,
    ask,
    wanted && ((signal) => ask.get(wanted.path, wanted.query ?? {}, signal)),
  );
  useEffect(() => {
    if (asked.outcome !== undefined) setLast({ name, ask, asked });
  }, [asked, name, ask]);
  return asked.outcome === undefined && last?.name === name && last.ask === ask ? last.asked : asked;
};

/** @param body undefined where nothing is to be simulated. */
export const useSimulation = <Body>(ask: Ask, body: object | undefined): Asked<Body> =>
  useOutcome<Body>(
    body === undefined ? "" : JSON.stringify(body),
    ask,
    body && ((signal) => ask.simulate(body, signal)),
  );
