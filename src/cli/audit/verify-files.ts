/** `sigil verify`: evidence files and packs, verified here from what the reader trusts: no network, no server. */
import { stat } from "node:fs/promises";
import { toHex } from "@sigil/core/bytes";
import { jsonView } from "@sigil/core/cbor";
import { verifyForeign } from "@sigil/core/keys";
import { evidenceBytesMax, noteBytesMax } from "@sigil/core/limits";
import { parsePolicy } from "@sigil/core/merkle";
import { verifyEvidence, type EvidenceTrust, type EvidenceVerdict } from "@sigil/core/verify";
import { SigilFault } from "../../errors.ts";
import { formatScore, signed, whoName } from "../call/decision.ts";
import { genesisOf } from "../call/from-genesis.ts";
import { timeText } from "../call/listing.ts";
import {
  exitCodes,
  jsonFlag,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { isPackDirectory, verifyPackAt } from "../pack/verifying.ts";
import { readBytes } from "../terminal/input-file.ts";
import { formatSteps } from "../terminal/steps.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

const readTrust = async (given: Arguments, terminal: Terminal): Promise<EvidenceTrust> => {
  const [genesis, path] = [genesisOf(given), given.text("policy")];
  if (path === undefined) return { genesis };
  const bytes = await readBytes(path, "--policy", terminal, noteBytesMax);
  try {
    return { genesis, policy: parsePolicy(bytes) };
  } catch (error) {
    if (error instanceof SigilFault) return usage(`--policy: ${error.message}`);
    throw error;
  }
};

/** Undefined if it cannot be read, and then that was said. */
const readFile = async (path: string, terminal: Terminal): Promise<Uint8Array | undefined> => {
  try {
    const { size } = path === "-" ? { size: 0 } : await stat(path);
    if (size <= evidenceBytesMax) return await readBytes(path, "FILE", terminal, evidenceBytesMax);
    terminal.note(
      `sigil: ${printable(path)} is longer than the ${evidenceBytesMax} bytes of an evidence file`,
    );
  } catch {
    terminal.note(`sigil: ${printable(path)} cannot be read`);
  }
  return undefined;
};

const formatFindings = ({ record, chain }: EvidenceVerdict["findings"]): string => {
  if (record === undefined) return "";
  const { body, position, hash } = record;
  const request = chain?.request;
  return formatPairs([
    ["record", `${body.kind} ${body.id}`],
    ["tenant", body.tenant],
    ["time", timeText(new Date(body.ts))],
    ["position", String(position)],
    ["hash", toHex(hash)],
    ["caller", request && whoName(request.caller)],
    ["subject", request && `${whoName(request.subject)}, ${request.loa}`],
    ["action", request?.action],
    ["target", request?.target],
    ["verdict", chain?.verdict],
    ["reason", chain?.reason],
    ["score", chain && `${formatScore(chain.score ?? undefined)} (threshold ${chain.threshold ?? "–"})`],
    ["z", chain?.z === null || chain?.z === undefined ? undefined : `${signed(chain.z)} logits`],
  ]);
};

const formatText = (path: string, verdict: EvidenceVerdict, terminal: Terminal): string => {
  const { holds, steps, findings } = verdict;
  const result = holds ? terminal.paint("green", "VERIFIED") : terminal.paint("red", "NOT VERIFIED");
  const facts = formatFindings(findings);
  return [
    `${result}  ${printable(path)}`,
    "",
    formatSteps(steps, terminal.paint),
    // What a refused file says of itself is not repeated as if it were so.
    ...(facts === "" || !holds ? [] : ["", facts]),
  ].join("\n");
};

const formatJson = (path: string, { holds, steps, findings }: EvidenceVerdict): string => {
  const { genesis, checkpoint, record, replay, cosigned } = findings;
  return JSON.stringify({
    file: path,
    verified: holds,
    steps,
    ...(genesis === undefined ? {} : { genesis: toHex(genesis) }),
    ...(checkpoint === undefined
      ? {}
      : {
          checkpoint: {
            origin: checkpoint.origin,
            size: String(checkpoint.size),
            root: toHex(checkpoint.root),
          },
        }),
    ...(cosigned === undefined ? {} : { cosigned }),
    ...(record === undefined
      ? {}
      : {
          record: {
            position: String(record.position),
            hash: toHex(record.hash),
            kind: record.body.kind,
            id: record.body.id,
            tenant: record.body.tenant,
            space: record.body.space,
            time: new Date(record.body.ts).toISOString(),
            payload: jsonView(record.body.payload),
          },
        }),
    ...(replay === undefined ? {} : { replay }),
  });
};

/** A file that cannot be read is no evidence, for or against. */
const exitOf = ({ holds, steps }: EvidenceVerdict): ExitCode => {
  if (holds) return exitCodes.ok;
  return steps[0]?.outcome === "failed" ? exitCodes.unknown : exitCodes.no;
};

export const verify: Command = {
  name: "verify",
  about:
    "Verify evidence files, and evidence packs, which are directories, step by step, on this machine alone: no network, no\n" +
    "server. What they prove rests on what you have from elsewhere: the hash of the genesis record, or a policy (C2SP\n" +
    "tlog-policy) with the log's key and the witnesses that must have cosigned. Without either nobody vouches for a file,\n" +
    "and it is not verified.",
  words: ["FILE|DIR…"],
  flags: {
    genesis: { value: "HASH", about: "The genesis record's hash, that sigil init printed." },
    policy: { value: "FILE", about: "The log's key, and whose cosignatures a checkpoint needs." },
    ...jsonFlag,
  },
  examples: [
    "sigil verify decision.sigil --genesis 5be4f6a1…",
    "sigil verify decision.sigil --policy witnesses.policy",
    "sigil verify *.sigil --genesis 5be4f6a1… --json",
    "sigil verify pack --genesis 5be4f6a1…",
  ],
  exits: [
    "0  every step of every file holds; a pack names its gaps, which is no failure",
    "1  a step does not, or nobody vouches for it",
    "2  not readable as evidence, or usage error; of several files the worst",
  ],
  run: async (given, terminal) => {
    const trust = await readTrust(given, terminal);
    let worst: ExitCode = exitCodes.ok;
    for (const [at, path] of given.words.entries()) {
      if (await isPackDirectory(path)) {
        const exit = await verifyPackAt(path, trust, {
          terminal,
          asJson: given.has("json"),
          isFirst: at === 0,
        });
        worst = Math.max(worst, exit) as ExitCode;
        continue;
      }
      const bytes = await readFile(path, terminal);
      if (bytes === undefined) {
        worst = exitCodes.unknown;
        continue;
      }
      const verdict = await verifyEvidence(bytes, trust, { verify: verifyForeign });
      if (!given.has("json") && at > 0) terminal.print("");
      terminal.print(given.has("json") ? formatJson(path, verdict) : formatText(path, verdict, terminal));
      worst = Math.max(worst, exitOf(verdict)) as ExitCode;
    }
    return worst;
  },
};
