/**
 * The rounds: every cell in each, each round beginning with another one, so that what a busy machine does to one it
 * does to all. A cell whose server answers wrongly or not at all fails, and is not asked again.
 */
import type { Driven, Generator } from "./generator.ts";
import type { Cell, Sample } from "./results.ts";
import { connections, inFlightOf, type Asked, type Served } from "./served.ts";

export type Pace = { readonly rounds: number; readonly seconds: number };

const warmUpSecondsMax = 1.5;
/** A server's first seconds are its compiler's. */
const firstSecondsMax = 3;

type Run = { readonly served: Served; readonly asked: Asked };
type Mode = "full" | "half";

export const sampleOf = (driven: Driven, decisionsACall: number): Sample => {
  const decisions = driven.calls * decisionsACall;
  return {
    perSecond: decisions / driven.elapsedSeconds,
    p50Ms: driven.p50Ms,
    p99Ms: driven.p99Ms,
    cpuUs: driven.serverCpuUs / decisions,
    writtenBytes: driven.writtenBytes / decisions,
    rssBytes: driven.rssPeakBytes,
    othersCores: driven.othersCpuUs / 1e6 / driven.elapsedSeconds,
  };
};

const describe = (title: string, mode: Mode, sample: Sample): string => {
  const { perSecond, p50Ms, p99Ms, cpuUs, othersCores } = sample;
  return (
    `${title}${mode === "half" ? ", half of that" : ""}: ${Math.round(perSecond)} a second, ` +
    `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(1)} ms, ${Math.round(cpuUs)} µs each; ` +
    `others used ${othersCores.toFixed(2)} cores`
  );
};

export type Measuring = {
  readonly generator: Generator;
  readonly pace: Pace;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

export type Measurement = {
  readonly cells: readonly Cell[];
  /** Decisions that each server was asked for, warm-ups included. */
  readonly decisions: ReadonlyMap<Served, number>;
};

export const measureRounds = async (
  servers: readonly Served[],
  isWanted: (asked: Asked) => boolean,
  { generator, pace, say, signal }: Measuring,
): Promise<Measurement> => {
  const runs: readonly Run[] = servers.flatMap((served) =>
    served.asked.filter(isWanted).map((asked) => ({ served, asked })),
  );
  const samples = new Map(runs.map((run) => [run, { full: [] as Sample[], half: [] as Sample[] }]));
  const failures = new Map<Run, string>();
  const decisions = new Map(servers.map((served) => [served, 0]));

  const drive = async ({ served, asked }: Run, seconds: number, perSecond?: number): Promise<Sample> => {
    const question = asked.question();
    const each = question.decisions ?? 1;
    const driven = await generator.drive(question, {
      connections,
      inFlight: inFlightOf[asked.load],
      ...(perSecond === undefined ? {} : { perSecond: perSecond / each }),
      warmUpSeconds: Math.min(warmUpSecondsMax, seconds / 2),
      seconds,
      pid: served.pid,
    });
    decisions.set(served, (decisions.get(served) ?? 0) + driven.allCalls * each);
    return sampleOf(driven, each);
  };
  /** Full, then half of what came of it. */
  const runOnce = async (run: Run, where: string): Promise<void> => {
    const { asked } = run;
    const kept = samples.get(run);
    const take = async (mode: Mode, perSecond?: number): Promise<Sample> => {
      const sample = await drive(run, pace.seconds, perSecond);
      kept?.[mode].push(sample);
      say(`${where}: ${describe(asked.title, mode, sample)}`);
      return sample;
    };
    const { perSecond } = await take("full");
    if (asked.load === "unary") await take("half", perSecond / 2);
  };
  const attempt = async (run: Run, where: string, work: () => Promise<unknown>): Promise<void> => {
    if (failures.has(run)) return;
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      failures.set(run, `${where}: ${why}`);
      say(`${where}: ${run.asked.title} FAILED: ${why}`);
    }
  };

  say(`warming up ${runs.length} loads`);
  const firstSeconds = Math.min(firstSecondsMax, pace.seconds);
  for (const run of runs) await attempt(run, "warming up", () => drive(run, firstSeconds));
  for (let round = 0; round < pace.rounds; round += 1) {
    const where = `round ${round + 1} of ${pace.rounds}`;
    for (const at of runs.keys()) {
      const run = runs[(at + round) % runs.length];
      if (run !== undefined) await attempt(run, where, () => runOnce(run, where));
    }
  }
  const cells = runs.map((run): Cell => {
    const { served, asked } = run;
    const failure = failures.get(run);
    const { full, half } = (failure === undefined ? samples.get(run) : undefined) ?? { full: [], half: [] };
    return {
      server: served.id,
      load: asked.load,
      title: asked.title,
      promise: served.promise,
      full,
      half,
      ...(failure === undefined ? {} : { failure }),
    };
  });
  return { cells, decisions };
};
