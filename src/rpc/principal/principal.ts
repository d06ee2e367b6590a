/** PrincipalService over gRPC. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  Enrolment as Wire,
  type FeedGrant,
  PrincipalServiceService as Principals,
  type GetPrincipalRequest,
  type GetPrincipalResponse,
  type ListPrincipalsRequest,
  ListPrincipalsResponse,
  Principal,
  type SuspendPrincipalRequest,
  type SuspendPrincipalResponse,
  type Suspension as WireSuspension,
  type WithdrawFeedGrantRequest,
  type WithdrawFeedGrantResponse,
} from "@sigil/proto/sigil/identity/v1/principal";
import { LevelOfAccess } from "@sigil/proto/sigil/type/v1/type";
import type { Enrolment, EnrolledPrincipal } from "../../identity/principals.ts";
import type { FeedStanding, Suspension } from "../../identity/suspension.ts";
import type { PrincipalService } from "../../identity/directory/principal-service.ts";
import type { SuspendQuestion } from "../../identity/directory/suspending.ts";
import { parseThumbprint, toBase64Url } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { formatGranted } from "@sigil/core/record";
import { invalidField } from "../../errors.ts";
import { suspensionReasonBytesMax } from "../../limits.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readLevel, readPageSize, readPrincipal, readTenant, readText } from "../message/fields.ts";
import { answerPage } from "../bounds/reply-limit.ts";
import { unary } from "../call/unary.ts";
import { formatLevel, formatTime } from "../message/vocabulary.ts";

const ENROLMENTS = {
  governed: Wire.ENROLMENT_GOVERNED,
  tenant: Wire.ENROLMENT_TENANT,
  witness: Wire.ENROLMENT_WITNESS,
} satisfies Record<Enrolment, Wire>;

const thumbprintBytes = 32;

const readSuspension = (request: SuspendPrincipalRequest, trustDomain: string): SuspendQuestion => {
  const { principal, keyThumbprint: key, reason } = request;
  if (principal === "") invalidField("principal", "must be given");
  if (key.length !== 0 && key.length !== thumbprintBytes) {
    invalidField("key_thumbprint", `must be ${thumbprintBytes} bytes, or empty for the principal itself`);
  }
  if (reason.trim() === "") invalidField("reason", "must be given");
  return {
    principal: readPrincipal(principal, "principal", trustDomain),
    key: key.length === 0 ? undefined : parseThumbprint(key),
    reason: readText(reason, "reason", suspensionReasonBytesMax),
  };
};

const formatSuspension = ({ recordId, reason, by, position, timeMs }: Suspension): WireSuspension => ({
  recordId,
  reason,
  by,
  ledgerPosition: position,
  time: formatTime(timeMs),
});

const noGrant = { tenants: [], kinds: [], spaces: [] } as const;

const formatFeed = ({ recordId, position, grant }: FeedStanding): FeedGrant => {
  const { tenants, kinds, spaces } = grant ?? noGrant;
  return {
    recordId,
    ledgerPosition: position,
    withdrawn: grant === undefined,
    tenants: [...formatGranted(tenants)],
    kinds: [...formatGranted(kinds)],
    spaces: [...formatGranted(spaces)],
  };
};

const formatPrincipal = ({ id, principal, enrolment, position }: EnrolledPrincipal): Principal => ({
  id,
  tenant: principal.tenant,
  level: formatLevel(principal.loa),
  active: principal.active,
  keys: principal.publicKeys.map((publicKey) => {
    const thumbprint = coseKeyThumbprint(publicKey);
    const suspension = principal.suspendedKeys?.get(toBase64Url(thumbprint));
    return {
      publicKey: Buffer.from(publicKey),
      thumbprint: Buffer.from(thumbprint),
      suspension: suspension && formatSuspension(suspension),
    };
  }),
  suspension: principal.suspension && formatSuspension(principal.suspension),
  enrolment: ENROLMENTS[enrolment],
  ledgerPosition: position,
  feedGrant: principal.feed && formatFeed(principal.feed),
});

export const principalHandlers = (
  principals: PrincipalService,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  suspendPrincipal: unary<SuspendPrincipalRequest, SuspendPrincipalResponse>(
    rpc,
    Principals.suspendPrincipal.path,
    async (caller, request, call) => {
      const suspended = await principals.suspend(caller, readSuspension(request, rpc.trustDomain), call);
      return {
        principal: formatPrincipal(suspended.principal),
        suspension: formatSuspension(suspended.suspension),
        alreadySuspended: suspended.already,
        auditId: suspended.auditId,
      };
    },
  ),
  withdrawFeedGrant: unary<WithdrawFeedGrantRequest, WithdrawFeedGrantResponse>(
    rpc,
    Principals.withdrawFeedGrant.path,
    async (caller, { principal }, call) => {
      if (principal === "") invalidField("principal", "must be given");
      const named = readPrincipal(principal, "principal", rpc.trustDomain);
      const { recordId, position, already, auditId } = await principals.withdraw(caller, named, call);
      return { recordId, ledgerPosition: position, alreadyWithdrawn: already, auditId };
    },
  ),
  getPrincipal: unary<GetPrincipalRequest, GetPrincipalResponse>(
    rpc,
    Principals.getPrincipal.path,
    async (caller, { principal }) => ({
      principal: formatPrincipal(
        await principals.get(caller, readPrincipal(principal, "principal", rpc.trustDomain)),
      ),
    }),
  ),
  listPrincipals: unary<ListPrincipalsRequest, ListPrincipalsResponse>(
    rpc,
    Principals.listPrincipals.path,
    async (caller, { tenant, level, suspendedOnly, pageSize, pageToken }, call) => {
      const isAny = level === LevelOfAccess.LEVEL_OF_ACCESS_UNSPECIFIED;
      const query = {
        tenant: readTenant(tenant),
        level: isAny ? undefined : readLevel(level, "level"),
        suspendedOnly,
        pageSize: readPageSize(pageSize),
        pageToken,
      };
      const list = async (asked: typeof query): Promise<ListPrincipalsResponse> => {
        const { principals: found, nextPageToken } = await principals.list(caller, asked, call.signal);
        return { principals: found.map(formatPrincipal), nextPageToken };
      };
      const message = ListPrincipalsResponse;
      return answerPage({ message, items: "principals", item: Principal, query, list }, call);
    },
  ),
});
