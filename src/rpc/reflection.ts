/** Server reflection, grpc.reflection.v1 (and v1alpha, which older tools ask for), from the built descriptors. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";

type Package = ConstructorParameters<typeof ReflectionService>[0];

/** From the sources, and from dist/src/ in the published package. */
const descriptorPaths = ["../../generated/descriptors.binpb", "../../../generated/descriptors.binpb"];

const readDescriptors = (): Uint8Array => {
  const paths = descriptorPaths.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return readFileSync(paths.find((path) => existsSync(path)) ?? paths[0] ?? "");
};

/** The files of a FileDescriptorSet, each still encoded: field 1, repeated. */
const splitFiles = (set: Uint8Array): readonly Buffer[] => {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
};

export const addReflection = (server: Server): void => {
  // The service looks at nothing of the package but this list.
  const definition = {
    sigil: { fileDescriptorProtos: splitFiles(readDescriptors()) },
  };
  new ReflectionService(definition as unknown as Package).addToServer(server);
};
