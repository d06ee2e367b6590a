/**
 * Search terms of a decision: 32 bits of SipHash over field and value under a tenant's key. A term may give false
 * positives, no false negatives; callers filter again on the verified record. A target has one term for each prefix of
 * whole segments, so that a prefix is found like a value. Pure. At most `targetTermsMax` terms of a target. Source:
 * docs/spec/ledger.md §6.
 */
import { utf8Encode } from "@sigil/core/bytes";
import { rememberedTermsMax, targetTermsMax } from "../../limits.ts";
import { SipHash } from "./sip-hash.ts";

/** Domain separation: the first byte hashed, so that one value in two fields has two terms. */
const fields = {
  principal: 1,
  action: 2,
  verdict: 3,
  reason: 4,
  session: 5,
  target: 6,
  id: 7,
  numbered: 8,
} as const;
type Field = keyof typeof fields;

/** The indexed fields of a decision. */
export type IndexedDecision = {
  readonly id: string;
  readonly subject: string;
  readonly caller: string;
  readonly action: string;
  readonly target: string;
  readonly session: string;
  readonly verdict: string;
  readonly reason: string;
  /** Whether it took a number of its caller's. */
  readonly isNumbered: boolean;
};

export type DecisionTermList = {
  readonly subject: number;
  readonly caller: number;
  /** All terms without duplicates, including the two above. */
  readonly terms: readonly number[];
};

/** Filters answered from the index alone. Combined by AND; an absent field matches everything. */
export type DecisionFilter = {
  /** Matches the subject or the caller. */
  readonly principal?: string;
  /** The caller whose number it took. */
  readonly numberedBy?: string;
  readonly action?: string;
  readonly verdict?: string;
  readonly reason?: string;
  readonly session?: string;
  /** The target or a prefix of whole segments. */
  readonly targetPrefix?: string;
  readonly fromMs?: number;
  readonly untilMs?: number;
};

const slash = 0x2f;

/** For ASCII the UTF-8 bytes are the code units, so no encoding is needed. */
const isAscii = (text: string): boolean => {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
};

export class DecisionTerms {
  readonly #hash: SipHash;
  #known = new Map<string, number>();
  #targets = new Map<string, readonly number[]>();

  /** @param key 16 bytes, the tenant's. */
  constructor(key: Uint8Array) {
    this.#hash = new SipHash(key);
  }

  of(decision: IndexedDecision): DecisionTermList {
    const { subject, caller, session } = decision;
    const subjectTerm = this.#remembered("principal", subject);
    const callerTerm = caller === subject ? subjectTerm : this.#remembered("principal", caller);
    const terms = [subjectTerm];
    const add = (term: number): void => {
      // Two values may collide in one term (rare), which must be listed once.
      if (!terms.includes(term)) terms.push(term);
    };
    add(callerTerm);
    add(this.#remembered("action", decision.action));
    add(this.#remembered("verdict", decision.verdict));
    add(this.#remembered("reason", decision.reason));
    if (session !== "") add(this.#remembered("session", session));
    if (decision.isNumbered) add(this.#remembered("numbered", caller));
    add(this.#term("id", decision.id));
    for (const term of this.#beginnings(decision.target)) add(term);
    return { subject: subjectTerm, caller: callerTerm, terms };
  }

  principal(name: string): number {
    return this.#remembered("principal", name);
  }

  id(id: string): number {
    return this.#term("id", id);
  }

  /** Terms that every matching decision has. */
  wanted({ targetPrefix, ...filter }: DecisionFilter): readonly number[] {
    const { principal, action, verdict, reason, session, numberedBy: numbered } = filter;
    const values = { principal, action, verdict, reason, session, numbered };
    const wanted = Object.entries(values).flatMap(([field, value]) =>
      value === undefined ? [] : [this.#term(field as Field, value)],
    );
    const longest = targetPrefix === undefined ? undefined : this.#targetTerms(targetPrefix).at(-1);
    return [...new Set(longest === undefined ? wanted : [...wanted, longest])];
  }

  #term(field: Field, text: string): number {
    const hash = this.#hash;
    hash.begin();
    hash.add(fields[field]);
    if (!isAscii(text)) for (const byte of utf8Encode(text)) hash.add(byte);
    else for (let at = 0; at < text.length; at += 1) hash.add(text.charCodeAt(at));
    return hash.low32();
  }

  #remembered(field: Field, text: string): number {
    const name = `${fields[field]}${text}`;
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const term = this.#term(field, text);
    if (this.#known.size >= rememberedTermsMax) this.#known = new Map();
    this.#known.set(name, term);
    return term;
  }

  #beginnings(target: string): readonly number[] {
    const known = this.#targets.get(target);
    if (known !== undefined) return known;
    const terms = this.#targetTerms(target);
    if (this.#targets.size >= rememberedTermsMax) this.#targets = new Map();
    this.#targets.set(target, terms);
    return terms;
  }

  /** Terms of the first segment, the first two and so on. Empty segments do not count. */
  #targetTerms(target: string): readonly number[] {
    const terms: number[] = [];
    const hash = this.#hash;
    hash.begin();
    hash.add(fields.target);
    let isInSegment = false;
    for (const byte of utf8Encode(target)) {
      if (byte !== slash) {
        if (!isInSegment && terms.length > 0) hash.add(slash);
        isInSegment = true;
        hash.add(byte);
      } else if (isInSegment) {
        terms.push(hash.low32());
        if (terms.length === targetTermsMax) return terms;
        isInSegment = false;
      }
    }
    if (isInSegment) terms.push(hash.low32());
    return terms;
  }
}
