/**
 * The pages for operators: every command that docs/operating prints runs here as it is printed, in the state its page
 * assumes. A block of another language, or a page that is not in the tables below, fails.
 */
import { readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { plays } from "./operating-plays.ts";
import { blocksOf, commandsOf, Stage } from "./page.ts";

/** Beside what is printed in a language that nothing runs: why, and what holds it to the truth. */
const shown: Readonly<Record<string, string>> = {
  "authzen.md json": "a request and its reply: test/e2e/authzen.test.ts sends one and compares the other",
  "configuration.md toml": "a file: the play of this page starts the configuration from it",
  "envoy.md toml": "a file: test/e2e/envoy-grpc.test.ts reads it",
  "envoy.md yaml": "a configuration of Envoy, which test/e2e/envoy.test.ts starts it with",
  "first-deployment.md json": "a file: the play of this page proposes it",
  "http.md nginx": "a configuration of nginx, which test/e2e/http-forward.test.ts starts it with",
  "http.md text": "lines of a stream, in short, which test/e2e/http-streams.test.ts reads whole",
  "http.md toml": "a file: test/unit/config/config.test.ts starts the configuration from it",
  "tiles.md toml": "a file: test/unit/config/config.test.ts starts the configuration from it",
  "relay.md toml": "relays: the play of this page serves the first of them",
  "witness.md text": "lines of policies: test/e2e/witness-serve.test.ts and cosigned.test.ts read such",
  "witness.md bash": "programs of others: test/e2e/other-witnesses.test.ts runs them",
  "witness.md yaml": "a file of omniwitness's, which test/e2e/other-witnesses.test.ts starts it with",
  "witness.md toml": "a server's keys: test/e2e/cosigned.test.ts and commit-policy.test.ts serve with them",
  "kubernetes.md yaml": "a manifest, there is no cluster here: test/unit/config/kubernetes-page.test.ts",
};

/** Pages without a command. */
const pagesOfProse = [
  "authzen.md",
  "client-cost.md",
  "failures.md",
  "peers.md",
  "performance.md",
  "recovery.md",
  "tls.md",
  "kubernetes.md",
  "envoy.md",
  "http.md",
];

const directory = join(repository, "docs/operating");
const pages = readdirSync(directory).filter((name) => name.endsWith(".md"));

describe("the commands that docs/operating prints", function () {
  this.slow(20_000);

  it("are all of pages that are played, and nothing else is printed that nobody holds to the truth", () => {
    expect([...Object.keys(plays), ...pagesOfProse].toSorted()).to.deep.equal(pages.toSorted());
    const unread = pages.flatMap((page) =>
      blocksOf(`docs/operating/${page}`)
        .filter(({ language }) => !(language === "sh" && page in plays) && !(`${page} ${language}` in shown))
        .map(({ language, line }) => `${page}:${line} ${language}`),
    );
    expect(unread).to.deep.equal([]);
  });

  for (const [page, make] of Object.entries(plays)) {
    it(`run as ${page} prints them`, async function () {
      const { set, replaced, before, after, needs } = make();
      needs?.(this);
      // As src/main.ts sets it: the commands run in this process.
      process.umask(0o077);
      const stage = new Stage(await mkdtemp(join(tmpdir(), "sigil-page-")));
      try {
        await set(stage);
        for (const { line, text } of commandsOf(`docs/operating/${page}`)) {
          try {
            await before?.(stage, text);
            const output = await stage.run(text, replaced?.(stage, text));
            await after?.(stage, text, output);
          } catch (cause) {
            throw new Error(`${page}:${line}: ${text}\n${String(cause)}`, { cause });
          }
        }
      } finally {
        await stage.stop();
        await rm(stage.home, { recursive: true, force: true });
      }
    });
  }
});
