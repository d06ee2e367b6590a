/**
 * What `sigil project` is told of a relay's filter: whether its source has gaps, and which records a projection has
 * that was filled through one. Source: docs/spec/projections.md §1.
 */
import type { RecordBody } from "@sigil/core/record";
import { matches, type Filter } from "../../relay/plan.ts";
import { usage, type Arguments, type Flags } from "../terminal/command.ts";

const listFlag = (value: string) =>
  ({
    value,
    about: "With --check: the relay's filter through which it was filled.",
    multiple: true,
  }) as const;

export const filterFlags = {
  filtered: {
    about: "The source has a filter: links and signatures are verified, and nothing tells what was left out.",
  },
  tenant: listFlag("TENANT"),
  kind: listFlag("KIND"),
  space: listFlag("SPACE"),
} as const satisfies Flags;

export type FilterSettings = {
  /** Of the source. */
  readonly isFiltered: boolean;
  /** What a comparison expects of the ledger; undefined for everything. */
  readonly keeps: ((body: RecordBody) => boolean) | undefined;
};

const listOf = (given: Arguments, name: "tenant" | "kind" | "space"): readonly string[] | undefined => {
  const list = given.texts(name);
  return list.length === 0 ? undefined : list;
};

/** @throws usage. */
export const readFilter = (given: Arguments): FilterSettings => {
  const filter: Filter = {
    tenants: listOf(given, "tenant"),
    kinds: listOf(given, "kind"),
    spaces: listOf(given, "space"),
  };
  const isFiltered = given.has("filtered");
  const hasLists = Object.values(filter).some((list) => list !== undefined);
  if (hasLists && !given.has("check")) usage("--tenant, --kind and --space say what --check compares");
  if (filter.spaces?.some((space) => space !== "user" && space !== "system") === true)
    usage("--space must be user or system");
  if (isFiltered && given.text("from")?.startsWith("grpc://") === true)
    usage("--filtered is for what a relay with a filter publishes: a server's feed has none here");
  return { isFiltered, keeps: hasLists || isFiltered ? (body) => matches(filter, body) : undefined };
};
