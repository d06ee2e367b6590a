/**
 * The active model: a projection of the newest `trust_model/active` record, replaced when a new one is committed. An
 * unusable record means no model, and without a model everything is denied.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import { describeError, fail, SigilFault } from "../errors.ts";
import {
  parseTrustModel,
  type TrustModelPayload,
  type RecordBody,
  activeModelId,
  systemTenant,
} from "@sigil/core/record";
import { BoundedMap } from "../identity/bounded-map.ts";
import { RecordCache } from "../ledger/cache.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import type { ActiveModel } from "./decision.ts";
import { withCanonicalGlobs, parseModel, type TrustModel } from "@sigil/core/model";

/** A model with the record that proves it. */
export type LoadedModel = ActiveModel & { readonly compiled: TrustModel };

export type ModelState =
  | { readonly kind: "loaded"; readonly loaded: LoadedModel }
  | { readonly kind: "missing"; readonly rule: string };

type ModelRecord = { readonly body: RecordBody; readonly hash: Hash; readonly position: bigint };

/** The state after a record. Never throws: an invalid model counts as missing. */
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

export type ModelLedger = ProjectionLedger<"readId" | "readHash">;

/** Cached models of old decisions, for replays. */
const knownModelsMax = 64;

const missing = (rule: string): ModelState => ({ kind: "missing", rule });

export class ActiveModels {
  readonly #reader: ModelLedger["reader"];
  readonly #byHash = new BoundedMap<string, TrustModelPayload>(knownModelsMax);
  /** A cache with one name. A commit carries the new state, so that there is always one. */
  readonly #known: RecordCache<ModelState>;

  private constructor({ reader, feed }: ModelLedger) {
    this.#reader = reader;
    this.#known = new RecordCache(
      feed,
      () => new Map<string, ModelState>(),
      (record) =>
        record.body.space === "system" && record.body.id === activeModelId
          ? { name: activeModelId, value: loadModel(record) }
          : undefined,
    );
  }

  static async open(ledger: ModelLedger): Promise<ActiveModels> {
    const models = new ActiveModels(ledger);
    await models.#known.find(activeModelId, () => models.#read());
    return models;
  }

  get state(): ModelState {
    return this.#known.held(activeModelId) ?? missing("none is loaded yet");
  }

  /** @throws modelMissing. */
  require(): LoadedModel {
    const { state } = this;
    return state.kind === "loaded" ? state.loaded : fail({ kind: "modelMissing", rule: state.rule });
  }

  /** The model that a recorded decision names. @throws notFound, recordCorrupt. */
  async byHash(hash: Hash): Promise<TrustModelPayload> {
    const name = toHex(hash);
    const known = this.#byHash.get(name);
    if (known !== undefined) return known;
    const record = await this.#reader.readHash(hash);
    if (record === undefined) return fail({ kind: "notFound", what: "trust model", id: name });
    const model = parseTrustModel(record.body.payload);
    this.#byHash.set(name, model);
    return model;
  }
  async #read(): Promise<ModelState> {
    try {
      const record = await this.#reader.readId(systemTenant, "system", activeModelId);
      return record === undefined ? missing("the ledger holds none") : loadModel(record);
    } catch (error) {
      // A damaged model record must not stop the audit service; the trust service denies.
      return missing(error instanceof SigilFault ? describeError(error.error) : "it cannot be read");
    }
  }
}
