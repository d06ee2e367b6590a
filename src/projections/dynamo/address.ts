/** Where a projection in DynamoDB is: a region, and what its tables begin with. No credentials stand in it. */
import { isLoopback } from "../address.ts";

export type DynamoAddress = {
  readonly region: string;
  /** What its tables begin with. */
  readonly name: string;
  /** Undefined for the region's own. */
  readonly endpoint: string | undefined;
};

export type DynamoAddressOutcome =
  | { readonly kind: "ok"; readonly address: DynamoAddress }
  | { readonly kind: "refused"; readonly rule: string };

const shape = /^dynamodb:\/\/([^/?]+)\/([^/?]*)(?:\?(.*))?$/;
const regionShape = /^[a-z0-9][a-z0-9-]{0,61}$/;
/** With room for `_v1_b` and a number in the 255 characters that a table's name may have. */
const nameShape = /^[A-Za-z0-9_.-]{3,200}$/;
const knownParameters = ["endpoint", "tls"];

const refused = (rule: string): DynamoAddressOutcome => ({ kind: "refused", rule });

/** `dynamodb://REGION/TABLE?endpoint=http://127.0.0.1:8000`; another machine without TLS says `&tls=false`. */
export const parseDynamoAddress = (text: string): DynamoAddressOutcome => {
  const [, region = "", name = "", query = ""] = shape.exec(text) ?? [];
  if (region.includes("@")) {
    return refused("must hold no credentials: they come from the environment, a profile or a role");
  }
  if (!regionShape.test(region)) return refused("must be dynamodb://REGION/TABLE");
  if (!nameShape.test(name)) {
    return refused("must name a table of 3 to 200 characters: letters, digits, _ . and -");
  }
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].find((parameter) => !knownParameters.includes(parameter));
  if (unknown !== undefined) {
    return refused(`knows no parameter ${unknown}: ${knownParameters.join(", ")} are all`);
  }
  const endpoint = parameters.get("endpoint") ?? undefined;
  const tls = parameters.get("tls") ?? "true";
  if (tls !== "true" && tls !== "false") return refused("tls must be true or false");
  if (endpoint === undefined) {
    return tls === "true"
      ? { kind: "ok", address: { region, name, endpoint } }
      : refused("tls=false needs an endpoint");
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (
    url === undefined ||
    !["http:", "https:"].includes(url.protocol) ||
    url.search !== "" ||
    url.hash !== ""
  ) {
    return refused("endpoint must be http://HOST:PORT or https://HOST:PORT");
  }
  if (url.username !== "" || url.password !== "") return refused("endpoint must hold no credentials");
  if (url.protocol === "http:" && tls === "true" && !isLoopback(url.hostname)) {
    return refused("endpoint must be https: of another machine, or the address says tls=false");
  }
  return { kind: "ok", address: { region, name, endpoint } };
};

/** For a person. */
export const describeDynamoAddress = ({ region, name, endpoint }: DynamoAddress): string =>
  `dynamodb://${region}/${name}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
