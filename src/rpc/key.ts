/** KeyService over gRPC. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  KeyRole as Role,
  KeyServiceService as Keys,
  KeyState as State,
  type ListKeyRecordsRequest,
  type ListKeyRecordsResponse,
  type ListKeysRequest,
  type ListKeysResponse,
  type RetireKeyRequest,
  type RetireKeyResponse,
  type RotateKeyRequest,
  type RotateKeyResponse,
  type SigningKey,
} from "../../generated/sigil/key/v1/key.ts";
import { parseThumbprint, type Thumbprint } from "../record/bytes.ts";
import { fail } from "../record/errors.ts";
import type { KeyRole, KeyService, KeyState, LivingKey } from "../operations/keys.ts";
import type { RpcEnvironment } from "./environment.ts";
import { unary } from "./unary.ts";

const ROLES = {
  record: Role.KEY_ROLE_RECORD,
  checkpoint: Role.KEY_ROLE_CHECKPOINT,
} satisfies Record<KeyRole, Role>;

const STATES = {
  active: State.KEY_STATE_ACTIVE,
  ended: State.KEY_STATE_ENDED,
  retired: State.KEY_STATE_RETIRED,
} satisfies Record<KeyState, State>;

const thumbprintBytes = 32;

const readRole = (role: Role): KeyRole => {
  if (role === Role.KEY_ROLE_RECORD) return "record";
  if (role === Role.KEY_ROLE_CHECKPOINT) return "checkpoint";
  return fail({ kind: "invalidField", field: "role", rule: "must be a role of signing keys" });
};

const readThumbprint = (bytes: Uint8Array, field: string): Thumbprint =>
  bytes.length === thumbprintBytes
    ? parseThumbprint(bytes)
    : fail({ kind: "invalidField", field, rule: `must be ${thumbprintBytes} bytes` });

const formatKey = (entry: LivingKey): SigningKey => ({
  role: ROLES[entry.role],
  publicKey: Buffer.from(entry.publicKey),
  thumbprint: Buffer.from(entry.thumbprint),
  firstPosition: entry.validFrom,
  lastPosition: entry.validTo ?? undefined,
  state: STATES[entry.state],
  retiredFrom: entry.retiredFrom ?? undefined,
});

export const keyHandlers = (keys: KeyService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  listKeys: unary<ListKeysRequest, ListKeysResponse>(rpc, Keys.listKeys.path, (caller) => ({
    keys: keys.list(caller).map(formatKey),
  })),
  rotateKey: unary<RotateKeyRequest, RotateKeyResponse>(
    rpc,
    Keys.rotateKey.path,
    async (caller, { role, expectedThumbprint: expected }) => {
      const thumbprint = expected.length === 0 ? undefined : readThumbprint(expected, "expected_thumbprint");
      return { key: formatKey(await keys.rotate(caller, readRole(role), thumbprint)) };
    },
  ),
  retireKey: unary<RetireKeyRequest, RetireKeyResponse>(
    rpc,
    Keys.retireKey.path,
    async (caller, { thumbprint, fromPosition }) => ({
      key: formatKey(await keys.retire(caller, readThumbprint(thumbprint, "thumbprint"), fromPosition)),
    }),
  ),
  listKeyRecords: unary<ListKeyRecordsRequest, ListKeyRecordsResponse>(
    rpc,
    Keys.listKeyRecords.path,
    async () => ({
      records: (await keys.records()).map(({ position, envelope }) => ({
        ledgerPosition: position,
        envelope: Buffer.from(envelope),
      })),
    }),
  ),
});
