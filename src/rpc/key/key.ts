/** KeyService over gRPC. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  DataKeyState as DataState,
  KeyRole as Role,
  KeyServiceService as Keys,
  KeyState as State,
  DataKey,
  KeyRecord,
  type ListDataKeysRequest,
  ListDataKeysResponse,
  type ListKeyRecordsRequest,
  ListKeyRecordsResponse,
  type ListKeysRequest,
  ListKeysResponse,
  type RetireKeyRequest,
  type RetireKeyResponse,
  type RotateDataKeyRequest,
  type RotateDataKeyResponse,
  type RotateKeyRequest,
  type RotateKeyResponse,
  SigningKey,
} from "@sigil/proto/sigil/key/v1/key";
import { parseThumbprint, type Thumbprint } from "@sigil/core/bytes";
import { keyRoles } from "@sigil/core/record";
import { invalidField } from "../../errors.ts";
import type {
  DataKeyState,
  KeyRole,
  KeyService,
  KeyState,
  LivingDataKey,
  LivingKey,
} from "../../deployment/keys.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readPageSize, readTenant } from "../message/fields.ts";
import { answerPage } from "../bounds/reply-limit.ts";
import { unary } from "../call/unary.ts";

const ROLES = {
  record: Role.KEY_ROLE_RECORD,
  checkpoint: Role.KEY_ROLE_CHECKPOINT,
  checkpoint_mldsa44: Role.KEY_ROLE_CHECKPOINT_MLDSA44,
} satisfies Record<KeyRole, Role>;

const STATES = {
  active: State.KEY_STATE_ACTIVE,
  ended: State.KEY_STATE_ENDED,
  retired: State.KEY_STATE_RETIRED,
} satisfies Record<KeyState, State>;

const DATA_STATES = {
  sealing: DataState.DATA_KEY_STATE_SEALING,
  opening: DataState.DATA_KEY_STATE_OPENING,
  destroyed: DataState.DATA_KEY_STATE_DESTROYED,
} satisfies Record<DataKeyState, DataState>;

const thumbprintBytes = 32;

const readRole = (role: Role): KeyRole =>
  keyRoles.find((name) => ROLES[name] === role) ?? invalidField("role", "must be a role of signing keys");

const readThumbprint = (bytes: Uint8Array, field: string): Thumbprint =>
  bytes.length === thumbprintBytes
    ? parseThumbprint(bytes)
    : invalidField(field, `must be ${thumbprintBytes} bytes`);

const formatKey = (entry: LivingKey): SigningKey => ({
  role: ROLES[entry.role],
  publicKey: Buffer.from(entry.publicKey),
  thumbprint: Buffer.from(entry.thumbprint),
  firstPosition: entry.validFrom,
  lastPosition: entry.validTo ?? undefined,
  state: STATES[entry.state],
  retiredFrom: entry.retiredFrom ?? undefined,
});

const formatDataKey = ({ tenant, version, seals, first, state }: LivingDataKey): DataKey => ({
  tenant,
  version,
  seals: BigInt(seals),
  firstPosition: first,
  state: DATA_STATES[state],
});

/** Required, since the caller is Root and means another tenant. */
const readKeyTenant = (tenant: string): string =>
  tenant === "" ? invalidField("tenant", "must be given") : readTenant(tenant);

export const keyHandlers = (keys: KeyService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  listKeys: unary<ListKeysRequest, ListKeysResponse>(
    rpc,
    Keys.listKeys.path,
    async (caller, { pageSize, pageToken }, call) => {
      const query = { pageSize: readPageSize(pageSize), pageToken };
      const list = async (asked: typeof query): Promise<ListKeysResponse> => {
        const { keys: found, nextPageToken } = await keys.list(caller, asked);
        return { keys: found.map(formatKey), nextPageToken };
      };
      return answerPage({ message: ListKeysResponse, items: "keys", item: SigningKey, query, list }, call);
    },
  ),
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
    async (caller, { pageSize, pageToken }, call) => {
      const query = { pageSize: readPageSize(pageSize), pageToken };
      const pageOf = await keys.records(caller);
      const list = async (asked: typeof query): Promise<ListKeyRecordsResponse> => {
        const { records, nextPageToken } = await pageOf(asked);
        const listed = records.map(({ position, envelope }) => ({
          ledgerPosition: position,
          envelope: Buffer.from(envelope),
        }));
        return { records: listed, nextPageToken };
      };
      const message = ListKeyRecordsResponse;
      return answerPage({ message, items: "records", item: KeyRecord, query, list }, call);
    },
  ),
  listDataKeys: unary<ListDataKeysRequest, ListDataKeysResponse>(
    rpc,
    Keys.listDataKeys.path,
    async (caller, { tenant, pageSize, pageToken }, call) => {
      const query = { tenant: readTenant(tenant), pageSize: readPageSize(pageSize), pageToken };
      const list = async (asked: typeof query): Promise<ListDataKeysResponse> => {
        const { dataKeys, nextPageToken } = await keys.listData(caller, asked);
        return { dataKeys: dataKeys.map(formatDataKey), nextPageToken };
      };
      const message = ListDataKeysResponse;
      return answerPage({ message, items: "dataKeys", item: DataKey, query, list }, call);
    },
  ),
  rotateDataKey: unary<RotateDataKeyRequest, RotateDataKeyResponse>(
    rpc,
    Keys.rotateDataKey.path,
    async (caller, { tenant, expectedVersion }) => {
      const expected = expectedVersion === 0 ? undefined : expectedVersion;
      return { dataKey: formatDataKey(await keys.rotateData(caller, readKeyTenant(tenant), expected)) };
    },
  ),
});
