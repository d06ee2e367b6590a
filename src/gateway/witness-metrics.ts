/** Prometheus metrics of the witnesses that cosign the ledger's checkpoints, labelled by the policy's names. */
import { Counter, Gauge, type Registry } from "prom-client";

/** Read by the gauges on each scrape. */
type WitnessFacts = { readonly label: string; readonly size: bigint; readonly isAnswering: boolean };

export type WitnessMetrics = {
  /** A witness did not answer, or answered what does not hold. */
  readonly onWitnessRefused: (witness: string) => void;
  readonly watchWitnesses: (source: () => readonly WitnessFacts[]) => void;
};

export const createWitnessMetrics = (registers: Registry[]): WitnessMetrics => {
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
