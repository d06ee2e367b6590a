/** What a person does at the page at /ui before anything else: opens it, gives a token, and forgets it. */
import type { Browser } from "./browser.ts";

/** @param place what comes after /ui, with its #. */
export const openUi = async (browser: Browser, url: string, place = ""): Promise<void> => {
  await browser.go(`${url}/ui${place}`);
  await browser.until("document.querySelector('.token input')");
};

export const giveUiToken = async (browser: Browser, token: string): Promise<void> => {
  await browser.evaluate("document.querySelector('.token input').focus()");
  await browser.type(token);
  await browser.press("Enter");
  await browser.until("document.querySelector('.caller strong')");
};

export const forgetUiToken = async (browser: Browser): Promise<void> => {
  await browser.evaluate(
    "[...document.querySelectorAll('button')].find((each) => each.innerText === 'Forget token').click()",
  );
  await browser.untilText("Anonymous Guest");
};
