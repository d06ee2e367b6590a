/** Prometheus metrics of the witnesses that cosign the ledger's checkpoints, labelled by the policy's names. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Read by the gauges on each scrape. */
type WitnessFacts = { readonly label: string; readonly size: bigint; readonly isAnswering: boolean };

/** Seconds; from a witness nearby to the longest wait. */
const waitSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export type WitnessMetrics = {
  readonly onWitnessRound: () => void;
  /** A witness did not answer, or answered what does not hold. */
  readonly onWitnessRefused: (witness: string) => void;
  /** An answer waited for cosignatures; one that was covered was given. */
  readonly onCoverageWaited: (isCovered: boolean, elapsedMs: number) => void;
  readonly watchWitnesses: (source: () => readonly WitnessFacts[]) => void;
  /** @param source how many answers wait. */
  readonly watchCoverage: (source: () => number) => void;
};

export const createWitnessMetrics = (registers: Registry[]): WitnessMetrics => {
  const rounds = new Counter({
    name: "sigil_witness_rounds_total",
    help: "Rounds in which witnesses were asked about a checkpoint.",
    registers,
  });
  const waits = new Histogram({
    name: "sigil_cosigned_wait_seconds",
    help: "Time that answers waited for cosignatures, by whether they then covered the record.",
    labelNames: ["covered"],
    buckets: waitSeconds,
    registers,
  });
  const refused = new Counter({
    name: "sigil_witness_failures_total",
    help: "Times that a witness was asked and did not cosign.",
    labelNames: ["witness"],
    registers,
  });
  const gauge = (
    name: string,
    help: string,
    source: () => readonly WitnessFacts[],
    read: (facts: WitnessFacts) => number,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ["witness"],
      registers,
      collect() {
        for (const facts of source()) this.set({ witness: facts.label }, read(facts));
      },
    });
  };
  return {
    onWitnessRound: () => rounds.inc(),
    onCoverageWaited: (isCovered, elapsedMs) =>
      waits.observe({ covered: String(isCovered) }, elapsedMs / 1000),
    watchCoverage: (source) => {
      new Gauge({
        name: "sigil_cosigned_waiting",
        help: "Answers that wait for cosignatures.",
        registers,
        collect() {
          this.set(source());
        },
      });
    },
    onWitnessRefused: (witness) => refused.inc({ witness }),
    watchWitnesses: (source) => {
      gauge(
        "sigil_witness_cosigned_records",
        "Records of the checkpoint that a witness cosigned last.",
        source,
        ({ size }) => Number(size),
      );
      gauge(
        "sigil_witness_answering",
        "1 while a witness cosigns what it is asked, else 0.",
        source,
        (facts) => (facts.isAnswering ? 1 : 0),
      );
    },
  };
};
