/** Which records a watch sends, once its caller's reach is established. */
import { equalBytes } from "@sigil/core/bytes";
import {
  linkTo,
  readDecision,
  systemTenant,
  type FrozenChainPayload,
  type Granted,
  type RecordBody,
} from "@sigil/core/record";
import { SigilFault } from "../../errors.ts";
import type { Caller } from "../../identity/caller.ts";
import { requireReach } from "../../identity/feed-reach.ts";
import { isDecision } from "../../ledger/layout/indexes.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import type { WatchSelection } from "../domain.ts";
import { decisionLabel, kindOf } from "./reading.ts";

const decisionKind = "frozen_chain";

/** What the record of a decision says. */
const chainIn = (body: RecordBody): FrozenChainPayload | undefined =>
  isDecision(body) ? readDecision(body) : undefined;

export class Selection {
  readonly #asked: WatchSelection;
  /** Whose user spaces. */
  readonly #tenants: Granted;

  /** @throws tenantForbidden, feedForbidden, invalidField. */
  constructor(caller: Caller, asked: WatchSelection) {
    const asksDecisions = asked.principals.length > 0 || asked.verdicts.length > 0;
    this.#tenants = requireReach(caller, { ...asked, asksDecisions });
    this.#asked = asked;
  }

  /** Tenants it names; those that are erased have nothing left to watch. */
  get named(): readonly string[] {
    return this.#tenants === "all" ? [] : this.#tenants;
  }

  /** The one tenant that every match is of, when its index lists them all: it does not list decisions. */
  get indexed(): string | undefined {
    const { spaces, kinds } = this.#asked;
    if (this.#tenants === "all" || kinds === "all" || (kinds !== "listed" && kinds.includes(decisionKind))) {
      return undefined;
    }
    const tenants = new Set([...this.#tenants, ...(spaces.includes("system") ? [systemTenant] : [])]);
    const [only] = tenants;
    return tenants.size === 1 ? only : undefined;
  }

  /** The kinds to look up in an index; undefined for all that it lists. */
  get indexedKinds(): readonly string[] | undefined {
    const { kinds } = this.#asked;
    return kinds === "listed" || kinds === "all" ? undefined : kinds;
  }

  /** Whether everything of every tenant is watched. No other filter can tell what an erased record was. */
  get takesErased(): boolean {
    const { kinds, spaces, idPrefix, linkTarget, fromMs, untilMs, principals, verdicts } = this.#asked;
    const isNarrowed =
      idPrefix !== "" || linkTarget !== null || fromMs !== undefined || untilMs !== undefined;
    return (
      this.#tenants === "all" &&
      spaces.includes("user") &&
      kinds === "all" &&
      !isNarrowed &&
      principals.length === 0 &&
      verdicts.length === 0
    );
  }

  /** @param ledger for the decision that a record links to. @throws recordCorrupt. */
  async matches(body: RecordBody, ledger: Pick<LedgerReader, "readHash">): Promise<boolean> {
    if (!this.#isInPlace(body) || !this.#isOfKind(body) || !this.#isNamed(body)) return false;
    const { principals, verdicts } = this.#asked;
    if (principals.length === 0 && verdicts.length === 0) return true;
    const own = chainIn(body);
    if (verdicts.length > 0 && (own === undefined || !verdicts.includes(own.verdict))) return false;
    if (principals.length === 0) return true;
    const chain = own ?? (await decisionBehind(ledger, body));
    if (chain === undefined) return false;
    const { caller, subject } = chain.request;
    return principals.some((principal) => principal === caller || principal === subject);
  }

  #isInPlace({ space, tenant }: RecordBody): boolean {
    if (!this.#asked.spaces.includes(space)) return false;
    return space === "system" || this.#tenants === "all" || this.#tenants.includes(tenant);
  }

  #isOfKind(body: RecordBody): boolean {
    const { kinds } = this.#asked;
    if (kinds === "all") return true;
    return kinds === "listed" ? !isDecision(body) : kinds.includes(kindOf(body));
  }

  #isNamed({ id, ts, links }: RecordBody): boolean {
    const { idPrefix, linkTarget, fromMs, untilMs } = this.#asked;
    if (!id.startsWith(idPrefix)) return false;
    if (fromMs !== undefined && ts < fromMs) return false;
    if (untilMs !== undefined && ts >= untilMs) return false;
    return linkTarget === null || links.some(({ target }) => equalBytes(target, linkTarget));
  }
}

/** The decision that allowed a record; undefined when it links to none, or to an erased tenant's. */
const decisionBehind = async (
  ledger: Pick<LedgerReader, "readHash">,
  body: RecordBody,
): Promise<FrozenChainPayload | undefined> => {
  const target = linkTo(body, decisionLabel);
  if (target === undefined) return undefined;
  try {
    const decision = await ledger.readHash(target);
    return decision && chainIn(decision.body);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "erased") return undefined;
    throw error;
  }
};
