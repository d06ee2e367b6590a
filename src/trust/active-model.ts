/**
 * The model that decides now: a projection of the ledger's newest `trust_model/active` record, replaced whole when a
 * new one is committed. A record that is no usable model leaves no model, and without a model everything denies.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import { describeError, fail, SigilFault } from "../errors.ts";
import { parseTrustModel, type TrustModelPayload, type RecordBody } from "@sigil/core/record";
import type { ActiveModel } from "./decision.ts";
import { withCanonicalGlobs, parseModel, type TrustModel } from "@sigil/core/model";

const activeModelId = "trust_model/active";

/** A model with the record that proves it. */
export type LoadedModel = ActiveModel & { readonly compiled: TrustModel };

export type ModelState =
  | { readonly kind: "loaded"; readonly loaded: LoadedModel }
  | { readonly kind: "missing"; readonly rule: string };

type ModelRecord = { readonly body: RecordBody; readonly hash: Hash; readonly position: bigint };

/** What a record makes of the state. Never throws: a model that breaks a rule is a missing one. */
const loadModel = ({ body, hash, position }: ModelRecord): ModelState => {
  try {
    parseModel(body.payload);
    const compiled = parseModel(withCanonicalGlobs(body.payload));
    const model = parseTrustModel(body.payload);
    return { kind: "loaded", loaded: { id: body.id, hash, position, model, compiled } };
  } catch (error) {
    const rule = error instanceof SigilFault ? describeError(error.error) : "it cannot be read";
    return { kind: "missing", rule };
  }
};

export type ModelLedger = {
  readonly reader: {
    readonly readId: (tenant: string, space: string, id: string) => Promise<ModelRecord | undefined>;
    readonly readHash: (hash: Hash) => Promise<ModelRecord | undefined>;
  };
  readonly feed: {
    readonly subscribe: (listener: (records: readonly ModelRecord[]) => void) => () => void;
  };
};

/** Models of old decisions kept at hand for replays. */
const knownModelsMax = 64;

export class ActiveModels {
  readonly #ledger: ModelLedger;
  readonly #byHash = new Map<string, TrustModelPayload>();
  #state: ModelState = { kind: "missing", rule: "none is loaded yet" };

  private constructor(ledger: ModelLedger) {
    this.#ledger = ledger;
  }

  static async open(ledger: ModelLedger): Promise<ActiveModels> {
    const models = new ActiveModels(ledger);
    ledger.feed.subscribe((records) => {
      const newest = records.findLast(({ body }) => body.space === "system" && body.id === activeModelId);
      if (newest !== undefined) models.#state = loadModel(newest);
    });
    try {
      const record = await ledger.reader.readId("system", "system", activeModelId);
      models.#state =
        record === undefined ? { kind: "missing", rule: "the ledger holds none" } : loadModel(record);
    } catch (error) {
      // A damaged model record must not keep the audit side from serving; the trust side denies.
      const rule = error instanceof SigilFault ? describeError(error.error) : "it cannot be read";
      models.#state = { kind: "missing", rule };
    }
    return models;
  }

  get state(): ModelState {
    return this.#state;
  }

  /** @throws modelMissing. */
  require(): LoadedModel {
    return this.#state.kind === "loaded"
      ? this.#state.loaded
      : fail({ kind: "modelMissing", rule: this.#state.rule });
  }

  /** The model a recorded decision names. @throws notFound, recordCorrupt. */
  async byHash(hash: Hash): Promise<TrustModelPayload> {
    const name = toHex(hash);
    const known = this.#byHash.get(name);
    if (known !== undefined) return known;
    const record = await this.#ledger.reader.readHash(hash);
    if (record === undefined) return fail({ kind: "notFound", what: "trust model", id: name });
    const model = parseTrustModel(record.body.payload);
    if (this.#byHash.size >= knownModelsMax) this.#byHash.clear();
    this.#byHash.set(name, model);
    return model;
  }
}
