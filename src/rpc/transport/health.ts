/**
 * The standard health service, grpc.health.v1: every service is SERVING if the ledger serves and the server is not
 * stopping.
 */
import type { Server } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";

export type Health = {
  readonly addTo: (server: Server) => void;
  readonly set: (state: "serving" | "notServing") => void;
};

/** @param services full names; "" means the whole server. */
export const createHealth = (services: readonly string[]): Health => {
  const names = ["", ...services];
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, "NOT_SERVING"])));
  return {
    addTo: (server) => health.addToServer(server),
    set: (state) => {
      for (const name of names) health.setStatus(name, state === "serving" ? "SERVING" : "NOT_SERVING");
    },
  };
};
