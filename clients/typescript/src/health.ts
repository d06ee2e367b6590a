/** A minimal grpc.health.v1 client: two messages of one field each, encoded by hand. */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import type {
  CallOptions as GrpcCallOptions,
  Client,
  ClientUnaryCall,
  Metadata,
  ServiceError,
} from "@grpc/grpc-js";

/** By number, grpc.health.v1.HealthCheckResponse.ServingStatus. */
const servingStatuses = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] as const;
export type ServingStatus = (typeof servingStatuses)[number];

const encodeRequest = (service: string): Buffer =>
  Buffer.from(
    new BinaryWriter()
      .uint32((1 << 3) | 2)
      .string(service)
      .finish(),
  );

const decodeResponse = (bytes: Uint8Array): ServingStatus => {
  const reader = new BinaryReader(bytes);
  let status = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) status = reader.int32();
    else reader.skip(wireType);
  }
  return servingStatuses[status] ?? "UNKNOWN";
};

/** The unary method, like one of a generated stub. */
export const healthMethod =
  (client: Client) =>
  (
    service: string,
    metadata: Metadata,
    options: Partial<GrpcCallOptions>,
    callback: (error: ServiceError | null, status: ServingStatus) => void,
  ): ClientUnaryCall =>
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      encodeRequest,
      decodeResponse,
      service,
      metadata,
      options,
      (error, status) => callback(error, status ?? "UNKNOWN"),
    );
