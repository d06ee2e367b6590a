/** Cleanup at /ui when a view or its caller ends, and of the test browser when it crashes. */
import { expect } from "chai";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import { Browser, chromium, whyNoBrowser, type Seen } from "./browser.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpConfig, urlOf } from "./http-caller.ts";
import { forgetUiToken, giveUiToken, openUi } from "./ui-steps.ts";

describe(`what ends at the page at /ui${whyNoBrowser}`, function () {
  this.slow(20_000);

  let deployment: Deployment;
  let served: ServedDeployment;
  let browser: Browser;
  let url: string;

  before(async function () {
    if (chromium === undefined) return this.skip();
    deployment = await makeDeployment();
    served = await deployment.serve({ config: { ...httpConfig, ui: true } });
    url = urlOf(served);
    browser = await Browser.open(chromium);
  });
  after(async () => {
    await browser?.[Symbol.asyncDispose]();
    await served?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
  });

  beforeEach(() => browser.openPage());
  afterEach(async () => {
    const { complaints } = browser;
    await browser.closePage();
    expect(complaints).to.deep.equal([]);
  });

  const visibilityListeners = async (): Promise<number> => {
    const { result } = await browser.send("Runtime.evaluate", { expression: "document" });
    const { objectId } = result as Seen;
    const { listeners } = await browser.send("DOMDebugger.getEventListeners", { objectId });
    return (listeners as readonly Seen[]).filter(({ type }) => type === "visibilitychange").length;
  };

  it("is listening for being seen, with the list that is followed", async () => {
    await openUi(browser, url);
    await giveUiToken(browser, await deployment.signer("operator").token());
    await browser.untilText("Following.");
    for (const [place, text, count] of [
      ["ledger", "Enrolled witnesses", 0],
      ["decisions", "Following.", 1],
      ["ledger", "Enrolled witnesses", 0],
    ] as const) {
      await browser.evaluate(`location.hash = "#/${place}"`);
      await browser.untilText(text);
      expect(await visibilityListeners(), place).to.equal(count);
    }
  });

  it("is all that a caller was shown, before the next is answered", async () => {
    await openUi(browser, url, "#/ledger");
    await giveUiToken(browser, await deployment.signer("operator").token());
    await browser.untilText("Signed by key");
    await browser.untilText("Enrolled witnesses");
    // From here on nothing is answered.
    await browser.evaluate("void (window.fetch = () => new Promise(() => {}))");
    await forgetUiToken(browser);
    expect(await browser.text())
      .to.include("Reading…")
      .and.not.match(/Signed by key|Enrolled witnesses|answered in/);
  });
});

describe(`a browser that ends${whyNoBrowser}`, () => {
  it("fails what waits for it and what is asked afterwards", async function () {
    if (chromium === undefined) return this.skip();
    await using browser = await Browser.open(chromium);
    const failure = (method: string): Promise<string> => browser.send(method).then(() => "", String);
    expect(await failure("Browser.crash")).to.match(/Chromium ended/);
    expect(await failure("Browser.getVersion")).to.match(/Chromium ended/);
  });
});
