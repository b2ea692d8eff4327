// Requests whose shapes are settled and whose names are not in the generated list yet.

import type {
  ExportRequestsRequest, GatewayPatch, GatewayView, KeyRequest, KeyText, NamedText, NewKeyRequest, Nothing, PauseRequest,
  Requests, RequestsQuery, ToolConfig, ToolRequest,
} from "./types";

export interface Coming {
  requests: [RequestsQuery, Requests];
  export_requests: [ExportRequestsRequest, NamedText];
  gateway_view: [Nothing, GatewayView];
  change_gateway: [GatewayPatch, GatewayView];
  new_key: [NewKeyRequest, KeyText];
  reveal_key: [KeyRequest, KeyText];
  remove_key: [KeyRequest, GatewayView];
  new_session: [Nothing, GatewayView];
  pause_gateway: [PauseRequest, Nothing];
  tool_config: [ToolRequest, ToolConfig];
}
