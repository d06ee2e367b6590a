/** The page at /ui: who asks, and the view that its address names. */
import { h, render, type JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { asking } from "./api.ts";
import { useGet } from "./asked.ts";
import { Decision } from "./decision.ts";
import { Decisions } from "./decisions.ts";
import { Ledger } from "./ledger.ts";
import type { Ask } from "./problem.ts";
import { Proposal, Proposals } from "./proposals.ts";
import { parseRoute, type Route } from "./route.ts";
import type { Principal } from "./shapes.ts";
import { problemPanel, shown } from "./shown.ts";
import { enumName } from "./text.ts";

const useRoute = (): Route => {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const read = (): void => setHash(location.hash);
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  return useMemo(() => parseRoute(hash), [hash]);
};

type TokenOptions = { readonly onToken: (token: string | undefined) => void };

/** Its field has no name, so no form of this page carries it anywhere. */
const TokenForm = ({ onToken }: TokenOptions): JSX.Element =>
  h(
    "form",
    {
      class: "token",
      "aria-label": "Token",
      onSubmit: (event: SubmitEvent) => {
        event.preventDefault();
        const form = event.currentTarget;
        const field = form instanceof HTMLFormElement ? form.elements.item(0) : null;
        if (!(field instanceof HTMLInputElement)) return;
        const token = field.value.trim().replace(/^Bearer\s+/i, "");
        field.value = "";
        if (token !== "") onToken(token);
      },
    },
    h(
      "label",
      null,
      "Token",
      h("input", { type: "password", autocomplete: "one-time-code", spellcheck: false, required: true }),
    ),
    h("button", { type: "submit" }, "Use it"),
  );

const Caller = ({ ask, onToken }: TokenOptions & { readonly ask: Ask }): JSX.Element => {
  const { outcome } = useGet<Principal>(ask, { path: "/principal" });
  const forget = h(
    "button",
    { type: "button", class: "plain", onClick: () => onToken(undefined) },
    "Forget token",
  );
  if (outcome === undefined) return h("p", null, "Asking who this is… ", forget);
  if (outcome.kind === "problem") return h("div", null, problemPanel(outcome.problem), forget);
  const { id, tenant, level } = outcome.body.principal;
  return h("p", null, [
    h("strong", null, shown(id)),
    `, ${enumName("LEVEL_OF_ACCESS", level)} of tenant `,
    shown(tenant),
    " ",
    forget,
  ]);
};

const links = [
  { kind: "decisions", name: "Decisions" },
  { kind: "proposals", name: "Proposals" },
  { kind: "ledger", name: "Ledger" },
] as const;

const Nav = ({ route }: { readonly route: Route }): JSX.Element =>
  h(
    "nav",
    { "aria-label": "Views" },
    links.map(({ kind, name }) => {
      const isHere = route.kind === kind || `${route.kind}s` === kind;
      return h("a", { key: kind, href: `#/${kind}`, ...(isHere ? { "aria-current": "page" } : {}) }, name);
    }),
  );

const View = ({ route, ask }: { readonly route: Route; readonly ask: Ask }): JSX.Element => {
  switch (route.kind) {
    case "decisions":
      return h(Decisions, { ask });
    case "decision":
      return h(Decision, { ask, id: route.id, tenant: route.tenant });
    case "proposals":
      return h(Proposals, { ask });
    case "proposal":
      return h(Proposal, { ask, id: route.id });
    case "ledger":
      return h(Ledger, { ask });
  }
};

const Page = (): JSX.Element => {
  const route = useRoute();
  const [token, setToken] = useState<string>();
  const ask = useMemo(() => asking(token), [token]);
  const [first] = useState(route);
  // Whoever follows a link by keyboard or ear goes on reading at the view's title.
  useEffect(() => {
    if (route !== first) document.getElementById("title")?.focus();
  }, [route]);
  return h("div", { class: "page" }, [
    h("header", null, [
      h("h1", null, "Sigil"),
      h(Nav, { route }),
      token === undefined
        ? h("div", { class: "caller" }, h("p", null, "Anonymous Guest"), h(TokenForm, { onToken: setToken }))
        : h("div", { class: "caller" }, h(Caller, { ask, onToken: setToken })),
    ]),
    h("main", null, h(View, { key: JSON.stringify(route), route, ask })),
    h(
      "footer",
      null,
      h(
        "p",
        { class: "quiet" },
        "Reads the HTTP API of this server as the caller above, and changes nothing. The token stays in this page's memory.",
      ),
    ),
  ]);
};

const root = document.getElementById("root");
if (root !== null) render(h(Page, null), root);
