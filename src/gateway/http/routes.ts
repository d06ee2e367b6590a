/**
 * What is served over HTTP: the routes that the contracts' `google.api.http` annotations name, read from the
 * descriptors once. An RPC without one is gRPC's alone. Source: AIP-127.
 */
import {
  createFileRegistry,
  fromBinary,
  getOption,
  toJson,
  type DescMethod,
  type FileRegistry,
  type Message,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { assert } from "../../errors.ts";
import { compareTemplates, matchTemplate, parseTemplate, type Capture, type Template } from "./template.ts";

export type HttpMethod = "GET" | "POST";

export type Route = {
  readonly method: HttpMethod;
  readonly template: Template;
  /** "*" for the whole request, a field's name for that field, "" for none: then the query gives fields. */
  readonly body: string;
  readonly rpc: DescMethod;
  /** `/package.Service/Method`. */
  readonly rpcPath: string;
};

/** The JSON form of an HttpRule, as far as it is served. */
type Rule = {
  readonly get?: string;
  readonly post?: string;
  readonly body?: string;
  readonly additionalBindings?: readonly Rule[];
};

export const readContracts = (descriptors: Uint8Array): FileRegistry =>
  createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));

const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

const routeOf = (rpc: DescMethod, { get, post, body = "" }: Rule): Route => {
  const method = get === undefined ? "POST" : "GET";
  const template = parseTemplate(get ?? post ?? "");
  assert(body === "" || method === "POST", `${template.text}: GET has no body`);
  return { method, template, body, rpc, rpcPath: pathOf(rpc) };
};

/** In the order in which a path is held against them. */
export const routesOf = (contracts: FileRegistry): readonly Route[] => {
  const http = contracts.getExtension("google.api.http");
  assert(http?.message !== undefined, "the contracts have no google.api.http");
  const { message } = http;
  const routes: Route[] = [];
  for (const type of contracts) {
    if (type.kind !== "service") continue;
    for (const rpc of type.methods) {
      const rule = toJson(message, getOption(rpc, http) as Message) as Rule;
      if (rule.get === undefined && rule.post === undefined) continue;
      routes.push(...[rule, ...(rule.additionalBindings ?? [])].map((each) => routeOf(rpc, each)));
    }
  }
  return routes.sort((a, b) => compareTemplates(a.template, b.template));
};

export type Found<Kind extends Route> =
  | { readonly kind: "found"; readonly route: Kind; readonly captures: readonly Capture[] }
  /** The path is served, by other methods. */
  | { readonly kind: "otherMethod"; readonly methods: readonly HttpMethod[] }
  | { readonly kind: "none" };

/** @param path encoded, without its query. */
export const findRoute = <Kind extends Route>(
  routes: readonly Kind[],
  method: string,
  path: string,
): Found<Kind> => {
  const segments = path.split("/").slice(1);
  const methods = new Set<HttpMethod>();
  for (const route of routes) {
    const captures = matchTemplate(route.template, segments);
    if (captures === undefined) continue;
    if (route.method === method) return { kind: "found", route, captures };
    methods.add(route.method);
  }
  return methods.size === 0 ? { kind: "none" } : { kind: "otherMethod", methods: [...methods].toSorted() };
};
