/** Rules of fsck besides the ledger's own: quorums, and the code of modules. */
import { QuorumInspection } from "../canon/proposals/quorum-inspection.ts";
import type { FsckOptions } from "../ledger/fsck/fsck.ts";
import { CodeFiles } from "../modules/code-files.ts";
import { CodeInspection } from "../modules/inspecting.ts";

/** For one run of fsck. @param directory the data directory to check. */
export const inspectionOf = (
  origin: string,
  directory: string,
): Required<Pick<FsckOptions, "inspectGroup" | "inspectEnd">> => {
  const quorum = new QuorumInspection(origin);
  const code = new CodeInspection(new CodeFiles(directory));
  return {
    inspectGroup: (group) => {
      code.take(group);
      return quorum.inspect(group);
    },
    inspectEnd: () => code.inspect(),
  };
};
