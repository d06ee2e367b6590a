/**
 * The tour's chapter on governance: nobody changes the trust model alone. A stricter model is proposed, refused with
 * one approval of the two it needs, committed with the second; one answer flips, and the old one still verifies against
 * the model that gave it.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ProposeRecordResponse, type SigilConnection, type CheckResponse } from "@sigil/client";
import { verdictName } from "../src/cli/call/decision.ts";
import { toHex } from "@sigil/core/bytes";
import { defaultModelPayload } from "../src/trust/default-model.ts";

type Ended = { readonly exitCode: number; readonly output: string; readonly problems: string };

export type Stage = {
  readonly target: string;
  readonly directory: string;
  readonly keyDirectory: string;
  /** As the operator. */
  readonly connection: SigilConnection;
  readonly say: (text: string) => void;
  readonly expect: (holds: boolean, promise: string) => void;
  readonly runSigil: (words: readonly string[]) => Promise<Ended>;
};

const asked = { action: "write", target: "user/notes" };

/** One number changed: writing counts as much riskier than before. */
const stricterModel = {
  ...defaultModelPayload,
  actions: { ...defaultModelPayload.actions, write: { risk: 0.9, min_loa: "observer" } },
};

const verdictOf = (response: CheckResponse): string =>
  `${verdictName(response.verdict)} (score ${response.score?.toFixed(2)}, model ${toHex(response.modelHash).slice(0, 12)}…)`;

const indented = (text: string): string =>
  text
    .trim()
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");

const propose = async ({ directory, keyDirectory, target, runSigil, expect }: Stage): Promise<string> => {
  const path = join(directory, "stricter-model.json");
  await writeFile(path, JSON.stringify(stricterModel));
  const words = [
    "propose",
    path,
    "--id",
    "trust_model/active",
    "--reason",
    "writing is riskier than we thought",
  ];
  const caller = ["--key", join(keyDirectory, "mentor.pem"), "--principal", "mentor", "--server", target];
  const { exitCode, output, problems } = await runSigil([...words, ...caller, "--json"]);
  expect(exitCode === 0, `a mentor proposes a model: ${problems}`);
  return ProposeRecordResponse.fromJSON(JSON.parse(output)).proposal?.id ?? "";
};

export const showQuorum = async (stage: Stage): Promise<void> => {
  const { connection, expect, keyDirectory, runSigil, say, target } = stage;
  const before = await connection.trust.check(asked);
  say(`operator asks to ${asked.action} ${asked.target}: ${verdictOf(before)}`);
  const id = await propose(stage);
  say(`mentor proposes a stricter model: ${id}`);

  const attest = (witness: string): Promise<Ended> =>
    runSigil(["attest", id, "--key", join(keyDirectory, `${witness}.pem`), "--yes", "--server", target]);
  const first = await attest("witness-1");
  expect(first.exitCode === 0, `witness-1 attests: ${first.problems}`);
  say("\nwitness-1 sees what would change, and signs on its own machine:\n");
  say(indented(first.output));

  const mentor = ["--key", join(keyDirectory, "mentor.pem"), "--principal", "mentor", "--server", target];
  const early = await runSigil(["commit", id, ...mentor]);
  say(`\nmentor tries to commit:\n${indented(early.problems)}`);
  expect(early.exitCode === 1 && early.problems.includes("still needs 1"), "k−1 approvals commit nothing");
  const between = await connection.trust.check(asked);
  expect(between.verdict === before.verdict, "the old model decides until the quorum is reached");

  const second = await attest("witness-2");
  expect(second.exitCode === 0, `witness-2 attests: ${second.problems}`);
  const { attestedBy, k, n } = await connection.canon.getSystemRecord({ id: "trust_model/active" });
  expect(attestedBy.length === k, "the committed model carries the approvals it needed");
  say(`\nwitness-2 signs too: committed, attested by ${attestedBy.join(" and ")} (${k} of ${n})`);

  const after = await connection.trust.check(asked);
  say(`operator asks again: ${verdictOf(after)}`);
  expect(before.allowed && !after.allowed, "the decision flips");
  const { verified } = await connection.audit.verifyFrozenChain({ auditId: before.auditId });
  expect(verified, "the old decision verifies against the old model");
  say(`the first answer, ${before.auditId}, still verifies: against the model that gave it`);
};
