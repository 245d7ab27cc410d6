// Where both ends of bench/pictures/upload.ts meet.
export const PORTS = { grpc: 50_051, http: 8_000, plain: 9_000 };
