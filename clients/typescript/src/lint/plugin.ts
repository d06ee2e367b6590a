/**
 * A plugin for ESLint and for oxlint (`jsPlugins`) with one rule: no decision stands as a condition, where a deny is as
 * true as an allow. With typescript-eslint's types it knows every decision; without, those of the file.
 */
import { isDecision } from "./decisions.ts";
import { nameOf, nodeIn, nodesIn, propertyOf, unwrapped, type Node, type RuleContext } from "./syntax.ts";

type Listener = (node: Node) => void;

type Rule = {
  readonly meta: {
    readonly type: "problem";
    readonly docs: { readonly description: string };
    readonly messages: Readonly<Record<string, string>>;
    readonly schema: readonly object[];
  };
  readonly create: (context: RuleContext) => Readonly<Record<string, Listener>>;
};

const testers = [
  "IfStatement",
  "WhileStatement",
  "DoWhileStatement",
  "ForStatement",
  "ConditionalExpression",
] as const;

/** The decisions among what a condition is made of: either side of `&&` and `||`. */
const decisionsIn = (given: Node | undefined, context: RuleContext): readonly Node[] => {
  const node = unwrapped(given);
  if (node === undefined) return [];
  if (node.type === "LogicalExpression" && node["operator"] !== "??") {
    // The left side is a condition wherever the whole stands, and is looked at as such.
    return decisionsIn(nodeIn(node, "right"), context);
  }
  return isDecision(node, context) ? [node] : [];
};

/** `Boolean(x)`, `assert(x)` and `assert.ok(x)`. */
const asksForTruth = (callee: Node | undefined): boolean => {
  const property = propertyOf(callee);
  if (property === undefined) return ["Boolean", "assert"].includes(nameOf(callee) ?? "");
  return property === "ok" && nameOf(nodeIn(callee, "object")) === "assert";
};

const noDecisionAsCondition: Rule = {
  meta: {
    type: "problem",
    docs: { description: "A decision is an object, so as a condition a deny is true. Read its `allowed`." },
    messages: {
      condition:
        "A decision is true as a condition, whatever it says: read its `allowed`, or use `sigil.require`.",
    },
    schema: [
      {
        type: "object",
        properties: { connections: { type: "array", items: { type: "string" } } },
        additionalProperties: false,
      },
    ],
  },
  create: (context) => {
    const condition = (node: Node | undefined): void => {
      for (const decision of decisionsIn(node, context))
        context.report({ node: decision, messageId: "condition" });
    };
    const tested = testers.map((type): [string, Listener] => [
      type,
      (node) => condition(nodeIn(node, "test")),
    ]);
    return {
      ...Object.fromEntries(tested),
      UnaryExpression: (node) => {
        if (node["operator"] === "!") condition(nodeIn(node, "argument"));
      },
      LogicalExpression: (node) => {
        if (node["operator"] !== "??") condition(nodeIn(node, "left"));
      },
      CallExpression: (node) => {
        if (asksForTruth(unwrapped(nodeIn(node, "callee")))) condition(nodesIn(node, "arguments")[0]);
      },
    };
  },
};

/** @public Its rule is `no-decision-as-condition`; option `connections`: names of connections besides `sigil`. */
const plugin: {
  readonly meta: { readonly name: string };
  readonly rules: { readonly "no-decision-as-condition": Rule };
} = {
  meta: { name: "sigil" },
  rules: { "no-decision-as-condition": noDecisionAsCondition },
};

export default plugin;
