/**
 * What the page reads of the API's JSON, as proto/ describes it: 64-bit numbers and times are text, bytes base64. Pure.
 */

export type Feature = { readonly feature: string; readonly value: number; readonly contribution: number };

export type CanonicalRecord = {
  readonly id: string;
  readonly kind: string;
  readonly payloadJson: string;
  readonly hash: string;
  readonly signature: string;
  readonly publicKey: string;
  readonly position: string;
  readonly schemaVersion: number;
};

export type Chain = {
  readonly auditId: string;
  readonly time: string;
  readonly tenant: string;
  readonly caller: string;
  readonly subject: string;
  readonly level: string;
  readonly minLevel: string;
  readonly action: string;
  readonly target: string;
  readonly session: string;
  readonly inputDigest: string;
  readonly inputBytes: string;
  readonly verdict: string;
  readonly reason: string;
  readonly score?: number;
  readonly z?: number;
  readonly threshold?: number;
  readonly features: readonly Feature[];
  readonly modelId: string;
  readonly modelHash: string;
  readonly steps: readonly { readonly name: string; readonly detail: string }[];
  readonly durationUs: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly record: CanonicalRecord;
};

export type ChainPage = {
  readonly chains: readonly Chain[];
  readonly nextPageToken: string;
  readonly resumePosition: string;
};

export type Decision = {
  readonly chain: Chain;
  readonly modelRows?: { readonly bias: number; readonly actionGlob: string; readonly targetGlob: string };
};

export type Verification = {
  readonly verified: boolean;
  readonly steps: readonly { readonly name: string; readonly outcome: string; readonly detail: string }[];
  readonly ledgerPosition: string;
  readonly checkpoint: string;
  readonly inclusionProof: readonly string[];
  readonly envelope: string;
};

export type ActiveModel = { readonly id: string; readonly hash: string; readonly ledgerPosition: string };

export type Checkpoint = {
  readonly checkpoint: string;
  readonly origin: string;
  readonly size: string;
  readonly root: string;
  readonly publicKey: string;
};

export type Quorum = {
  readonly k: number;
  readonly n: number;
  readonly epoch: string;
  readonly proposerMayAttest: boolean;
};

export type Witnesses = {
  readonly witnesses: readonly {
    readonly id: string;
    readonly owner: string;
    readonly authority: string;
    readonly thumbprint: string;
    readonly enrolledPosition: string;
  }[];
  readonly quorum: Quorum;
};

export type Proposal = {
  readonly id: string;
  readonly state: string;
  readonly kind: string;
  readonly recordId: string;
  readonly recordHash: string;
  readonly payloadJson: string;
  readonly base: string;
  readonly proposer: string;
  readonly reason: string;
  readonly time: string;
  readonly expireTime: string;
  readonly approvedBy: readonly string[];
  readonly rejectedBy: readonly string[];
  readonly approvalsNeeded: number;
};

export type ProposalPage = { readonly proposals: readonly Proposal[]; readonly nextPageToken: string };

export type SystemRecord = {
  readonly record: {
    readonly record: CanonicalRecord;
    readonly version: string;
    readonly tombstone: boolean;
  };
};

export type Simulation = {
  readonly scored: number;
  readonly flipped: number;
  readonly erased: number;
  readonly warnings: readonly string[];
  readonly decisions: readonly {
    readonly auditId: string;
    readonly action: string;
    readonly target: string;
    readonly subject: string;
    readonly current: string;
    readonly candidate: string;
    readonly currentScore?: number;
    readonly candidateScore?: number;
    readonly candidateReason: string;
  }[];
};

export type Principal = {
  readonly principal: {
    readonly id: string;
    readonly tenant: string;
    readonly level: string;
    readonly active: boolean;
  };
};
