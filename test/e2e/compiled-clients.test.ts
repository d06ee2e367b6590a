/**
 * The guides to clients in other languages work as printed, and what they build denies by default: it is played rows of
 * the faulty server. The services of scripts/services.sh fetch what the builds need.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { startFaulty, type FaultyServer } from "../faulty/table.ts";
import { freePorts, serving, type Serving } from "./command.ts";
import { expectAsPrinted, printedOn } from "./printed.ts";

type Language = {
  readonly language: string;
  readonly page: string;
  /** Why it cannot be built here, or nothing. */
  readonly missing: string | undefined;
  /** Text of the page → what it is here. */
  readonly replaced: (home: string) => readonly (readonly [RegExp, string])[];
  readonly program: (home: string) => readonly string[];
};

const cargoProblem = async (): Promise<string | undefined> => {
  const manifest = "examples/clients/rust/Cargo.toml";
  const { exitCode } = await run(["cargo", "tree", "--offline", "--locked", "--manifest-path", manifest]);
  return exitCode === 0 ? undefined : "skipped: no cargo or crates: scripts/services.sh install rust_client";
};

const mavenProblem = async (): Promise<string | undefined> => {
  const isBuilt = existsSync(join(repository, "build/clients/java/target/check.jar"));
  const isInstalled = isBuilt && (await run(["mvn", "--version"])).exitCode === 0;
  return isInstalled
    ? undefined
    : "skipped: no Maven, or not what it fetches: scripts/services.sh install java_client";
};

const languages: readonly Language[] = [
  {
    language: "Rust",
    page: "docs/guides/generate-a-client-rust.md",
    missing: await cargoProblem(),
    // Into the repository's build/, where its dependencies are compiled already.
    replaced: () => [[/cargo build/g, "cargo build --offline"]],
    program: () => [join(repository, "build/clients/rust/debug/check")],
  },
  {
    language: "Java",
    page: "docs/guides/generate-a-client-java.md",
    missing: await mavenProblem(),
    replaced: (home) => [
      [/build\/clients/g, join(home, "clients")],
      [/\bmvn /g, "mvn --offline "],
    ],
    program: (home) => ["java", "-jar", join(home, "clients/java/target/check.jar")],
  },
];

/** Replies that are as close to an allow as can be, and ends of calls that have one in them. */
const faults =
  /^lie-(?:allowed|a-verdict|no-verdict|allow-that-is-not|\w+-without-a-record).*-check$|^(?:allow-then-error|no-status|empty-message|truncated|cut-after-allow|hangs-after-allow|http1-json|down)$/;

for (const { language, page, missing, replaced, program } of languages) {
  describe(`the guide to a client in ${language}${missing === undefined ? "" : ` (${missing})`}`, function () {
    this.slow(60_000);
    let home = "";
    let server: Serving | undefined;
    let faulty: FaultyServer | undefined;
    const steps = printedOn(page);

    before(async function () {
      if (missing !== undefined) this.skip();
      home = await mkdtemp(join(tmpdir(), "sigil-compiled-"));
      [server, faulty] = await Promise.all([serving(["dev", ...freePorts], { cwd: home }), startFaulty()]);
    });

    after(async () => {
      await Promise.all([server?.stop(), faulty?.[Symbol.asyncDispose]()]);
      if (home !== "") await rm(home, { recursive: true, force: true });
    });

    it("shows an allow, a deny, an error and a token", () => {
      const shown = steps.flatMap((step) => step.shown).join("\n");
      for (const each of [/^VERDICT_ALLOW/m, /^exit code 1$/m, /^exit code 2$/m])
        expect(shown).to.match(each);
      expect(steps.map(({ script }) => script).join("")).to.include("CHECK_TOKEN=");
    });

    for (const step of steps) {
      it(`works as printed at line ${step.line}`, () =>
        expectAsPrinted(step, { target: server?.target ?? "", home, replaced: replaced(home) }));
    }

    const ends = async (words: readonly string[], env: Readonly<Record<string, string>> = {}) =>
      run([...program(home), ...words], { env });

    it("ends with 0 for an allow, 1 for a deny, 2 without a server or a question", async () => {
      const target = server?.target ?? "";
      const codes: Record<string, number> = {};
      for (const words of [
        [target, "read", "public/docs"],
        [target, "write", "user/notes"],
        ["127.0.0.1:1", "read", "public/docs"],
        [target, "read"],
      ]) {
        codes[words.join(" ").replace(target, "server")] = (await ends(words)).exitCode;
      }
      expect(codes).to.deep.equal({
        "server read public/docs": 0,
        "server write user/notes": 1,
        "127.0.0.1:1 read public/docs": 2,
        "server read": 2,
      });
    });

    it("says why a token is refused and not the token, and keeps it from other machines", async () => {
      const env = { CHECK_TOKEN: "canary-3b1f" };
      const refused = await ends([server?.target ?? "", "read", "public/docs"], env);
      const kept = await ends(["sigil.invalid:50051", "read", "public/docs"], env);
      const unsendable = await ends([server?.target ?? "", "read", "public/docs"], {
        CHECK_TOKEN: "canary-3b1f\n",
      });
      expect(refused.output).to.include("TOKEN_MALFORMED");
      expect(kept.output).to.include("without TLS");
      expect([refused, kept, unsendable].map(({ exitCode }) => exitCode)).to.deep.equal([2, 2, 2]);
      expect([refused, kept, unsendable].map(({ output }) => output).join("")).to.not.include("canary");
    });

    it("ends with 2 for whatever a faulty server does, and with 0 for what it says that is true", async () => {
      const { questions = [], rows = [] } = faulty?.table ?? {};
      const [question] = questions;
      const played = rows.filter(({ name }) => name === "control-told-check" || faults.test(name));
      expect(played.length).to.be.at.least(18);
      const codes: Record<string, number> = {};
      for (const { name, target } of played) {
        codes[name] = (await ends([target, question?.action ?? "", question?.target ?? ""])).exitCode;
      }
      const wanted = played.map(({ name }) => [name, name === "control-told-check" ? 0 : 2] as const);
      expect(codes).to.deep.equal(Object.fromEntries(wanted));
    });
  });
}
