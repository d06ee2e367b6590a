/**
 * What the rule reads of a syntax tree, as ESLint and oxlint give it: ESTree nodes with a parent, and scopes. Only the
 * fields used here, so that the package needs neither linter. Pure.
 */

export type Node = {
  readonly type: string;
  readonly parent?: Node | null;
  readonly [field: string]: unknown;
};

export type Definition = { readonly type: string; readonly node: Node; readonly parent?: Node | null };

export type Variable = { readonly name: string; readonly defs: readonly Definition[] };

export type Scope = { readonly set: ReadonlyMap<string, Variable>; readonly upper: Scope | null };

/** A type of the TypeScript compiler. */
export type CompilerType = {
  readonly types?: readonly CompilerType[];
  readonly getProperty: (name: string) => unknown;
};

export type RuleContext = {
  readonly options: readonly unknown[];
  readonly sourceCode: {
    readonly getScope: (node: Node) => Scope;
    readonly parserServices?: {
      readonly program?: unknown;
      readonly getTypeAtLocation?: (node: Node) => CompilerType;
    };
  };
  readonly report: (problem: { readonly node: Node; readonly messageId: string }) => void;
};

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";

/** The node in a field. */
export const nodeIn = (node: Node | undefined, field: string): Node | undefined => {
  const value = node?.[field];
  return isNode(value) ? value : undefined;
};

export const nodesIn = (node: Node | undefined, field: string): readonly Node[] => {
  const value = node?.[field];
  return Array.isArray(value) ? value.filter(isNode) : [];
};

const wrappers = new Set([
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "TSTypeAssertion",
  "ChainExpression",
  "ParenthesizedExpression",
]);

/** Without what changes nothing at run time. */
export const unwrapped = (node: Node | undefined): Node | undefined =>
  node !== undefined && wrappers.has(node.type) ? unwrapped(nodeIn(node, "expression")) : node;

/** The name of an identifier, or of a property that is written as one. */
export const nameOf = (node: Node | undefined): string | undefined => {
  if (node?.type === "Identifier" || node?.type === "PrivateIdentifier") return String(node["name"]);
  if (node?.type === "Literal" && typeof node["value"] === "string") return node["value"];
  return undefined;
};

/** The name of the property that is read, as in `object.name` and `object["name"]`. */
export const propertyOf = (node: Node | undefined): string | undefined => {
  if (node?.type !== "MemberExpression") return undefined;
  const property = nodeIn(node, "property");
  return node["computed"] === true && property?.type !== "Literal" ? undefined : nameOf(property);
};

export const variableOf = (identifier: Node, context: RuleContext): Variable | undefined => {
  const name = nameOf(identifier) ?? "";
  let scope: Scope | null = context.sourceCode.getScope(identifier);
  for (; scope !== null; scope = scope.upper) {
    const variable = scope.set.get(name);
    if (variable !== undefined) return variable;
  }
  return undefined;
};
