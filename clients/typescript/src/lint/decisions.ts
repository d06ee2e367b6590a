/**
 * Which expressions are decisions. With the types of the TypeScript compiler each is; without them those that come from
 * a connection within the file: `await sigil.check(…)`, a variable that holds it, the parameter of its `then`. Pure.
 */
import {
  nameOf,
  nodeIn,
  nodesIn,
  propertyOf,
  unwrapped,
  variableOf,
  type CompilerType,
  type Definition,
  type Node,
  type RuleContext,
} from "./syntax.ts";

/** What a decision has, of both its forms, and hardly anything else. */
const fields = ["allowed", "verdict", "auditId"] as const;

const isDecisionType = (type: CompilerType): boolean =>
  type.types?.some(isDecisionType) ?? fields.every((field) => type.getProperty(field) !== undefined);

const typedNames = new Set(["SigilConnection", "TrustClient", "Check"]);

/** Names of connections that no declaration in the file tells. */
const namesIn = ({ options }: RuleContext): readonly string[] => {
  const [given] = options;
  const names: unknown =
    typeof given === "object" && given !== null && "connections" in given && given.connections;
  return Array.isArray(names) ? names.map(String) : [];
};

const isConnectionName = (name: string, context: RuleContext): boolean =>
  /sigil/i.test(name) || namesIn(context).includes(name);

const annotationOf = (node: Node | undefined): string | undefined => {
  const annotation = nodeIn(nodeIn(node, "typeAnnotation"), "typeAnnotation");
  return nameOf(nodeIn(annotation, "typeName"));
};

/** The pattern that a definition is in, as `{ trust }`, with what it is taken from. */
const sourceOf = ({
  type,
  node,
}: Definition): { readonly id: Node | undefined; readonly init: Node | undefined } =>
  type === "Variable"
    ? { id: nodeIn(node, "id"), init: unwrapped(nodeIn(node, "init")) }
    : { id: undefined, init: undefined };

/** The property that a pattern takes for a name, as "trust" of `{ trust: judge }` for `judge`. */
const takenAs = (pattern: Node | undefined, name: string): string | undefined => {
  const property = nodesIn(pattern, "properties").find((each) => nameOf(nodeIn(each, "value")) === name);
  return nameOf(nodeIn(property, "key"));
};

/** What a name stands for: an initialiser, or a property of one. */
const meansOf = (
  identifier: Node,
  context: RuleContext,
): readonly { readonly init: Node; readonly property: string | undefined }[] => {
  const definitions = variableOf(identifier, context)?.defs ?? [];
  return definitions.flatMap((definition) => {
    const { id, init } = sourceOf(definition);
    if (init === undefined) return [];
    const property = id?.type === "ObjectPattern" ? takenAs(id, nameOf(identifier) ?? "") : undefined;
    return id?.type === "ObjectPattern" && property === undefined ? [] : [{ init, property }];
  });
};

const isAnnotated = (identifier: Node, context: RuleContext): boolean => {
  const definitions = variableOf(identifier, context)?.defs ?? [];
  return definitions.some(({ type, node }) => {
    const declared =
      type === "Parameter"
        ? nodesIn(node, "params").find((each) => nameOf(each) === nameOf(identifier))
        : nodeIn(node, "id");
    return typedNames.has(annotationOf(declared) ?? "");
  });
};

const depthMax = 8;

/** Whether it has a method `check` that gives decisions: a connection, or its `trust`. */
const isJudge = (given: Node | undefined, context: RuleContext, depth = 0): boolean => {
  const node = unwrapped(given);
  if (node === undefined || depth > depthMax) return false;
  const property = propertyOf(node);
  if (property !== undefined) {
    return (
      isConnectionName(property, context) ||
      (property === "trust" && isJudge(nodeIn(node, "object"), context, depth + 1))
    );
  }
  if (node.type === "CallExpression") return nameOf(nodeIn(node, "callee")) === "connect";
  if (node.type !== "Identifier") return false;
  if (isConnectionName(nameOf(node) ?? "", context) || isAnnotated(node, context)) return true;
  return meansOf(node, context).some(
    ({ init, property: taken }) =>
      (taken === undefined || taken === "trust") && isJudge(init, context, depth + 1),
  );
};

/** `sigil.check(…)`, `trust.check(…)`, or `check(…)` with `check` taken from one. */
const isCheck = (given: Node | undefined, context: RuleContext): boolean => {
  const node = unwrapped(given);
  if (node?.type !== "CallExpression") return false;
  const callee = unwrapped(nodeIn(node, "callee"));
  if (propertyOf(callee) === "check") return isJudge(nodeIn(callee, "object"), context);
  if (callee?.type !== "Identifier") return false;
  return meansOf(callee, context).some(({ init, property }) =>
    property === undefined
      ? propertyOf(init) === "check" && isJudge(nodeIn(init, "object"), context)
      : property === "check" && isJudge(init, context),
  );
};

/** The parameter of a function that is handed to `then` of a check. */
const isThenParameter = ({ type, node }: Definition, name: string, context: RuleContext): boolean => {
  if (type !== "Parameter" || nameOf(nodesIn(node, "params")[0]) !== name) return false;
  const call = node.parent ?? undefined;
  const callee = unwrapped(nodeIn(call, "callee"));
  return (
    call?.type === "CallExpression" &&
    propertyOf(callee) === "then" &&
    isCheck(nodeIn(callee, "object"), context)
  );
};

const isBySyntax = (node: Node, context: RuleContext, depth: number): boolean => {
  if (node.type === "AwaitExpression") {
    const awaited = unwrapped(nodeIn(node, "argument"));
    return isCheck(awaited, context) || (awaited?.type === "Identifier" && isHeld(awaited, context, isCheck));
  }
  if (node.type === "AssignmentExpression") {
    const right = unwrapped(nodeIn(node, "right"));
    return right !== undefined && isBySyntax(right, context, depth);
  }
  if (node.type !== "Identifier" || depth > depthMax) return false;
  const definitions = variableOf(node, context)?.defs ?? [];
  return (
    definitions.some((definition) => isThenParameter(definition, nameOf(node) ?? "", context)) ||
    isHeld(node, context, (init) => init !== undefined && isBySyntax(init, context, depth + 1))
  );
};

const isHeld = (
  identifier: Node,
  context: RuleContext,
  is: (init: Node | undefined, context: RuleContext) => boolean,
): boolean =>
  meansOf(identifier, context).some(({ init, property }) => property === undefined && is(init, context));

export const isDecision = (given: Node | undefined, context: RuleContext): boolean => {
  const node = unwrapped(given);
  if (node === undefined) return false;
  const { program, getTypeAtLocation } = context.sourceCode.parserServices ?? {};
  const isTyped = program !== undefined && program !== null && getTypeAtLocation !== undefined;
  return (isTyped && isDecisionType(getTypeAtLocation(node))) || isBySyntax(node, context, 0);
};
