/** The page at /ui in headless Chromium: what it shows, what it asks, and what it cannot do. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Store } from "../../src/storage/store.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { Browser, bytesIn, chromium, whyNoBrowser } from "./browser.ts";
import { Council, json, modelWith } from "./council.ts";
import { makeDeployment } from "./deployment.ts";
import { httpAs, httpConfig, urlOf, type Ask, type Seen } from "./http-caller.ts";
import { forgetUiToken, giveUiToken, openUi } from "./ui-steps.ts";

const shots = join(repository, "build/ui");
const attack = `<img src=x onerror="document.title='turned'"><script>document.title='turned'</script>`;
const risky = { ...defaultModelPayload.actions, write: { risk: 1, min_loa: "observer" } };
const stricter = modelWith({ actions: risky });
const turned = "\u202Egpj.exe\u2066";

describe(`the page at /ui${whyNoBrowser}`, function () {
  this.slow(20_000);

  let council: Council;
  let store: Store;
  let browser: Browser;
  let operator: Ask;
  let url: string;
  let token: string;

  before(async function () {
    if (chromium === undefined) return this.skip();
    await mkdir(shots, { recursive: true });
    council = await Council.open({}, (directory) => ({
      config: { ...httpConfig, ui: true },
      overrides: { openStore: async () => (store = await openLevelStore(join(directory, "ledger"))) },
    }));
    operator = httpAs(council.deployment, council.served)("operator");
    url = urlOf(council.served);
    token = await council.deployment.signer("operator").token();
    browser = await Browser.open(chromium);
  });
  after(async () => {
    await browser?.[Symbol.asyncDispose]();
    await council?.[Symbol.asyncDispose]();
  });

  beforeEach(() => browser.openPage());
  afterEach(async () => {
    const { asked, complaints } = browser;
    await browser.closePage();
    expect(complaints).to.deep.equal([]);
    expect(asked.filter((each) => !each.startsWith(`${url}/`))).to.deep.equal([]);
    expect(asked.join("\n")).not.to.include(token);
  });

  const decide = async (check: object): Promise<Seen> => (await operator("POST", "/trust/check", check)).json;
  const allowed = { action: "write", target: "user/notes" };
  const denied = { action: "delete", target: "user/profile" };

  const open = (place = ""): Promise<void> => openUi(browser, url, place);
  const giveToken = (): Promise<void> => giveUiToken(browser, token);
  /** Lines of a table by its caption. */
  const rows = (caption: string): Promise<readonly string[]> =>
    browser.evaluate(
      `[...[...document.querySelectorAll("table")].find((each) => each.caption.innerText.startsWith(${JSON.stringify(caption)}))?.tBodies[0].rows ?? []].map((row) => row.innerText)`,
    );
  const keepShot = async (name: string): Promise<void> => {
    const png = await browser.screenshot();
    await writeFile(join(shots, `${name}.png`), png);
    expect(bytesIn(png), name).to.be.above(40);
  };

  it("asks its own origin alone, and keeps the token out of URLs, storage and the log", async () => {
    await open();
    await giveToken();
    for (const place of ["proposals", "ledger", "decisions"]) {
      await browser.evaluate(`location.hash = "#/${place}"`);
      await browser.until("document.querySelector('main h2')");
    }
    await browser.untilText("Following.");
    const kept = await browser.evaluate<readonly unknown[]>(
      "[localStorage.length, sessionStorage.length, document.cookie, location.href.includes('ey'), document.querySelectorAll('input').length > 0]",
    );
    expect(kept).to.deep.equal([0, 0, "", false, true]);
    expect(await browser.evaluate("document.documentElement.outerHTML")).not.to.include(token.slice(0, 40));
    expect(council.served.logged()).not.to.include(token.slice(-40));
    for (const asked of new Set(browser.asked)) {
      const { pathname } = new URL(asked);
      if (!pathname.startsWith("/ui")) continue;
      const { headers } = await fetch(asked);
      expect(headers.get("content-security-policy"), pathname)
        .to.match(/^default-src 'none'; /)
        .and.to.include("frame-ancestors 'none'")
        .and.not.match(/unsafe|https?:|\*|data:/);
      expect(headers.get("referrer-policy"), pathname).to.equal("no-referrer");
      expect(headers.get("x-content-type-options"), pathname).to.equal("nosniff");
    }
  });

  it("lists decisions, filters them, and follows what is decided", async () => {
    await decide(allowed);
    await decide(denied);
    await open();
    await giveToken();
    await browser.untilText("Following.");
    expect((await rows("Decisions, newest")).slice(0, 2).join("\n"))
      .to.match(/^.*\tdeny\tdelete\tuser\/profile\toperator\t/)
      .and.match(/\n.*\tallow\twrite\tuser\/notes\toperator\t/);
    await browser.evaluate("document.querySelector('[name=action]').focus()");
    await browser.type("read");
    await browser.press("Enter");
    await browser.untilText("No decision matches.");
    await decide({ action: "read", target: "public/docs" });
    await browser.until("document.querySelectorAll('td .verdict').length === 1");
    await decide(allowed);
    await decide({ action: "read", target: "public/other" });
    await browser.untilText("public/other");
    const listed = await rows("Decisions, newest");
    expect(listed.map((row) => row.split("\t")[3])).to.deep.equal(["public/other", "public/docs"]);
    expect(await browser.text()).to.include("2 listed, 2 new since it was opened. Following.");
    expect(await browser.evaluate("document.querySelector('.plot').ariaLabel")).to.match(
      /^allow 2, review 0, deny 0 in the 60 minutes to \d\d:\d\d UTC\.$/,
    );
    const drawn = await browser.evaluate<boolean>(`(() => {
      const canvas = document.querySelector(".plot canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const name = getComputedStyle(document.documentElement).getPropertyValue("--allow").trim();
      const wanted = [1, 3, 5].map((at) => parseInt(name.slice(at, at + 2), 16));
      return data.some((_, at) => at % 4 === 0 && wanted.every((part, offset) => data[at + offset] === part));
    })()`);
    expect(drawn, "a bar in the colour of allow").to.equal(true);
    await keepShot("decisions");
  });

  it("asks nothing while it is hidden or paused, and then goes on where it was", async () => {
    await open();
    await giveToken();
    await browser.untilText("Following.");
    const show = (state: string): Promise<unknown> =>
      browser.evaluate(
        `Object.defineProperty(document, "visibilityState", { value: "${state}", configurable: true }) && document.dispatchEvent(new Event("visibilitychange"))`,
      );
    const stops: readonly (readonly [() => Promise<unknown>, () => Promise<unknown>])[] = [
      [() => show("hidden"), () => show("visible")],
      [() => pressPause(), () => pressPause()],
    ];
    const pressPause = (): Promise<unknown> =>
      browser.evaluate("document.querySelector('button[aria-pressed]').click()");
    for (const [stop, go] of stops) {
      await stop();
      const target = `user/while-stopped-${browser.asked.length}`;
      await decide({ action: "write", target });
      // What was under way has come, and a poll would have been due twice.
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      expect(await browser.text()).not.to.include(target);
      const count = browser.asked.length;
      await go();
      await browser.untilText(target);
      expect(browser.asked.length).to.be.above(count);
    }
  });

  it("shows one decision with the record's contributions as bars, its model, steps and verification", async () => {
    const { auditId } = await decide(allowed);
    const { json: answer } = await operator("GET", `/audit/${auditId}`);
    const { chain, modelRows } = answer as unknown as {
      readonly chain: {
        readonly features: readonly { readonly contribution: number }[];
        readonly z: number;
        readonly modelHash: string;
        readonly steps: readonly { readonly detail: string }[];
      };
      readonly modelRows: { readonly bias: number };
    };
    const { json: proof } = await operator("GET", `/audit/${auditId}/verification`);
    await open(`#/decisions/${auditId}`);
    await giveToken();
    await browser.untilText(`"verified": true`);
    const bars = await browser.evaluate<readonly (readonly [number, number])[]>(
      "[...document.querySelectorAll('.fall rect')].map((bar) => [bar.x.baseVal.value, bar.width.baseVal.value])",
    );
    const parts = [modelRows.bias, ...chain.features.map(({ contribution }) => contribution)];
    let sum = 0;
    const wanted = [...parts, chain.z].map((part, at) => {
      const from = at === parts.length ? 0 : sum;
      sum = from + part;
      return [Math.min(from, sum), Math.abs(part)] as const;
    });
    expect(bars.length).to.equal(wanted.length);
    for (const [at, [x, width]] of wanted.entries()) {
      expect(bars[at]?.[0], `bar ${at} begins`).to.be.closeTo(x, 1e-5);
      expect(bars[at]?.[1], `bar ${at} measures`).to.be.closeTo(width, 1e-5);
    }
    // The active model is asked for apart from the decision and its verification.
    await browser.untilText("the same model decides now");
    const text = await browser.text();
    expect(text).to.include(Buffer.from(chain.modelHash, "base64").toString("hex"));
    for (const { detail } of chain.steps) expect(text).to.include(detail);
    const steps = proof as unknown as {
      readonly steps: readonly { readonly name: string; readonly detail: string }[];
    };
    expect((await rows("What the server verified")).map((row) => row.split("\t")[0])).to.deep.equal(
      steps.steps.map(({ name }) => name),
    );
    await keepShot("decision");
  });

  it("shows damage as damage, in the list and by itself", async () => {
    const { auditId, ledgerPosition } = await decide(allowed);
    const key = recordKey(BigInt(ledgerPosition));
    const whole = (await store.get(key)) ?? expect.fail("nothing is stored there");
    const damaged = Uint8Array.from(whole);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await store.commit([{ kind: "put", key, value: damaged }]);
    try {
      await open(`#/decisions/${auditId}`);
      await giveToken();
      await browser.untilText("Damaged: Data loss");
      await browser.untilText(`"verified": false`);
      expect(await browser.text())
        .to.match(/failed/)
        .and.not.match(/How the sum came about/);
      await keepShot("damage");
      await browser.evaluate("location.hash = '#/decisions'");
      await browser.until("document.querySelector('main h2').innerText === 'Decisions'");
      await browser.untilText("Damaged: Data loss");
      expect(await browser.text()).to.include("Not following.");
    } finally {
      await store.commit([{ kind: "put", key, value: whole }]);
    }
  });

  it("shows proposals that wait, what they change and which verdicts they flip", async () => {
    await decide(allowed);
    const { id } = await council.propose({
      id: "trust_model/active",
      content: stricter,
      reason: "stricter",
    });
    await open("#/proposals");
    await giveToken();
    await browser.untilText("trust_model/active");
    await browser.evaluate(
      `document.querySelector('a[href="#/proposals/${encodeURIComponent(id)}"]').click()`,
    );
    await browser.untilText("would have another verdict");
    expect((await rows("What it would change")).map((row) => row.split("\t").slice(0, 2))).to.deep.equal([
      ["− now", "actions.write.risk"],
      ["+ proposed", "actions.write.risk"],
    ]);
    expect((await rows("Verdicts that flip")).join("\n")).to.match(
      /\twrite\tuser\/notes\toperator\tallow\tdeny\t/,
    );
    expect(await browser.text())
      .to.include("stricter")
      .and.to.include("Approved by\nnobody");
    await keepShot("proposal");
    await council.as("mentor").canon.withdrawProposal({ id });
  });

  it("leaves hostile text as text, and writes out what cannot be seen", async () => {
    const { auditId } = await decide({
      ...allowed,
      target: `user/${"a".repeat(400)}`,
      session: attack.slice(0, 120),
    });
    const reason = `${attack} ${turned}`;
    const content = json({ kind: "hostile", schema: { title: attack, description: turned } });
    const { id } = await council.propose({ id: "schema/hostile", content, reason });
    await open(`#/decisions/${auditId}`);
    await giveToken();
    await browser.untilText(attack.slice(0, 120));
    await browser.evaluate(`location.hash = "#/proposals/${encodeURIComponent(id)}"`);
    await browser.untilText("Hash that witnesses sign");
    await browser.untilText(JSON.stringify(attack).slice(0, 60));
    expect(await browser.text())
      .to.include(attack)
      .and.to.include("⟨U+202E⟩gpj.exe⟨U+2066⟩")
      .and.not.include("\u202E");
    // Also where the server's own rules would have let none of it in.
    const chain = {
      ...(await operator("GET", `/audit/${auditId}`)).json.chain,
      target: attack,
      subject: turned,
      reason: attack,
      action: turned,
    };
    const page = { chains: [chain], nextPageToken: "", resumePosition: "1" };
    await browser.answer(`${url}/audit?*`, page);
    await browser.evaluate("location.hash = '#/decisions'");
    await browser.untilText(attack);
    expect(await browser.text())
      .to.include("⟨U+202E⟩gpj.exe⟨U+2066⟩")
      .and.not.include("\u202E");
    expect(await browser.evaluate("[document.title, document.images.length]")).to.deep.equal(["Sigil", 0]);
    await council.as("mentor").canon.withdrawProposal({ id });
  });

  it("is used by keyboard alone", async () => {
    await decide(denied);
    await open();
    await browser.tabTo(".token input");
    await browser.type(token);
    await browser.press("Tab");
    await browser.press("Enter");
    await browser.untilText("Following.");
    await browser.tabTo("select[name=verdict]");
    await browser.type("deny");
    await browser.tabTo("th a");
    const outline = "getComputedStyle(document.activeElement).outlineStyle";
    expect(await browser.evaluate(outline)).to.equal("solid");
    await browser.press("Enter");
    await browser.untilText("How the sum came about");
    expect(await browser.evaluate("document.activeElement.id")).to.equal("title");
    await browser.tabTo("details summary");
    await browser.press("Enter");
    await browser.untilText("Signed checkpoint");
    for (const name of ["decisions", "ledger"]) {
      await browser.tabTo(`nav a[href="#/${name}"]`);
      await browser.press("Enter");
      await browser.until(`document.querySelector("nav [aria-current]").hash === "#/${name}"`);
    }
    await browser.untilText("Enrolled witnesses");
  });

  it("fits a screen of 400 pixels, in light and in dark, without scrolling sideways", async () => {
    const { auditId } = await decide({ ...allowed, target: `user/${"long-name/".repeat(30)}end` });
    const { id } = await council.propose({ id: "trust_model/active", content: stricter });
    await browser.size(400, 800);
    await open();
    await giveToken();
    const proposal = `proposals/${encodeURIComponent(id)}`;
    const places = [
      ["decisions", "decisions", "Following."],
      ["decision", `decisions/${auditId}`, `"verified": true`],
      ["proposal", proposal, "would have another"],
      ["ledger", "ledger", "Enrolled witnesses"],
    ] as const;
    for (const scheme of ["light", "dark"] as const) {
      await browser.scheme(scheme);
      for (const [name, place, text] of places) {
        await browser.evaluate(`location.hash = "#/${place}"`);
        await browser.untilText(text);
        const [content, screen] = await browser.evaluate<readonly [number, number]>(
          "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
        );
        expect([content, screen], place).to.deep.equal([400, 400]);
        const narrowest = await browser.evaluate<number>(
          "Math.min(...[...document.querySelectorAll('td')].map((cell) => cell.offsetWidth || 400))",
        );
        expect(narrowest, `a cell of ${place}`).to.be.above(200);
        await keepShot(`narrow-${scheme}-${name}`);
      }
    }
    await browser.size(1280, 900);
    await browser.evaluate(`location.hash = "#/decisions/${auditId}"`);
    await browser.untilText(`"verified": true`);
    await keepShot("decision-dark");
    await council.as("mentor").canon.withdrawProposal({ id });
  });

  it("shows a Guest what a Guest may see, and says what a level lacks", async () => {
    const guest = httpAs(council.deployment, council.served)("guest");
    const { json: own } = await guest("POST", "/trust/check", { action: "read", target: "public/docs" });
    await open();
    await browser.untilText("Needs Observer");
    expect(await browser.text()).to.include("Give a token of a principal of level Observer or above.");
    await browser.evaluate("document.querySelector('[name=id]').focus()");
    await browser.type(own.auditId);
    await browser.press("Enter");
    await browser.untilText(`"verified": true`);
    expect(await browser.text()).to.include("How the sum came about");
    for (const [place, text] of [
      ["proposals", "Needs Observer"],
      ["ledger", "2 of 3 witnesses"],
    ] as const) {
      await browser.evaluate(`location.hash = "#/${place}"`);
      await browser.untilText(text);
    }
    await browser.untilText("not for this caller: needs Observer");
    await keepShot("guest");
  });

  it("says what to do about a token that does not hold, and forgets it", async () => {
    await open();
    await browser.evaluate("document.querySelector('.token input').focus()");
    await browser.type(`${token.slice(0, -4)}AAAA`);
    await browser.press("Enter");
    await browser.untilText("Give another token");
    await forgetUiToken(browser);
  });
});

describe("without its key", () => {
  it("the page at /ui is not served", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ config: httpConfig });
    expect((await fetch(`${urlOf(served)}/ui`)).status).to.equal(404);
  });
});
