// The official client, for programs outside of this package.

export { NodeWebSocket, NodeXHR, io } from "socket.io-client";
