import type * as grpc from '@grpc/grpc-js';
import type { EnumTypeDefinition, MessageTypeDefinition } from '@grpc/proto-loader';

import type { AbortRequest as _skein_inference_v1_AbortRequest, AbortRequest__Output as _skein_inference_v1_AbortRequest__Output } from './skein/inference/v1/AbortRequest.js';
import type { AbortResponse as _skein_inference_v1_AbortResponse, AbortResponse__Output as _skein_inference_v1_AbortResponse__Output } from './skein/inference/v1/AbortResponse.js';
import type { ContentPart as _skein_inference_v1_ContentPart, ContentPart__Output as _skein_inference_v1_ContentPart__Output } from './skein/inference/v1/ContentPart.js';
import type { DetokenizeRequest as _skein_inference_v1_DetokenizeRequest, DetokenizeRequest__Output as _skein_inference_v1_DetokenizeRequest__Output } from './skein/inference/v1/DetokenizeRequest.js';
import type { DetokenizeResponse as _skein_inference_v1_DetokenizeResponse, DetokenizeResponse__Output as _skein_inference_v1_DetokenizeResponse__Output } from './skein/inference/v1/DetokenizeResponse.js';
import type { GenerateOnceRequest as _skein_inference_v1_GenerateOnceRequest, GenerateOnceRequest__Output as _skein_inference_v1_GenerateOnceRequest__Output } from './skein/inference/v1/GenerateOnceRequest.js';
import type { GenerateOnceResponse as _skein_inference_v1_GenerateOnceResponse, GenerateOnceResponse__Output as _skein_inference_v1_GenerateOnceResponse__Output } from './skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateRequest as _skein_inference_v1_GenerateRequest, GenerateRequest__Output as _skein_inference_v1_GenerateRequest__Output } from './skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse as _skein_inference_v1_GenerateResponse, GenerateResponse__Output as _skein_inference_v1_GenerateResponse__Output } from './skein/inference/v1/GenerateResponse.js';
import type { GetClusterRequest as _skein_inference_v1_GetClusterRequest, GetClusterRequest__Output as _skein_inference_v1_GetClusterRequest__Output } from './skein/inference/v1/GetClusterRequest.js';
import type { GetClusterResponse as _skein_inference_v1_GetClusterResponse, GetClusterResponse__Output as _skein_inference_v1_GetClusterResponse__Output } from './skein/inference/v1/GetClusterResponse.js';
import type { GetModelRequest as _skein_inference_v1_GetModelRequest, GetModelRequest__Output as _skein_inference_v1_GetModelRequest__Output } from './skein/inference/v1/GetModelRequest.js';
import type { GetModelResponse as _skein_inference_v1_GetModelResponse, GetModelResponse__Output as _skein_inference_v1_GetModelResponse__Output } from './skein/inference/v1/GetModelResponse.js';
import type { InferenceServiceClient as _skein_inference_v1_InferenceServiceClient, InferenceServiceDefinition as _skein_inference_v1_InferenceServiceDefinition } from './skein/inference/v1/InferenceService.js';
import type { LogitBias as _skein_inference_v1_LogitBias, LogitBias__Output as _skein_inference_v1_LogitBias__Output } from './skein/inference/v1/LogitBias.js';
import type { Message as _skein_inference_v1_Message, Message__Output as _skein_inference_v1_Message__Output } from './skein/inference/v1/Message.js';
import type { Picture as _skein_inference_v1_Picture, Picture__Output as _skein_inference_v1_Picture__Output } from './skein/inference/v1/Picture.js';
import type { Rank as _skein_inference_v1_Rank, Rank__Output as _skein_inference_v1_Rank__Output } from './skein/inference/v1/Rank.js';
import type { RankTimings as _skein_inference_v1_RankTimings, RankTimings__Output as _skein_inference_v1_RankTimings__Output } from './skein/inference/v1/RankTimings.js';
import type { ResponseFormat as _skein_inference_v1_ResponseFormat, ResponseFormat__Output as _skein_inference_v1_ResponseFormat__Output } from './skein/inference/v1/ResponseFormat.js';
import type { SamplingOptions as _skein_inference_v1_SamplingOptions, SamplingOptions__Output as _skein_inference_v1_SamplingOptions__Output } from './skein/inference/v1/SamplingOptions.js';
import type { Timings as _skein_inference_v1_Timings, Timings__Output as _skein_inference_v1_Timings__Output } from './skein/inference/v1/Timings.js';
import type { TokenLogprob as _skein_inference_v1_TokenLogprob, TokenLogprob__Output as _skein_inference_v1_TokenLogprob__Output } from './skein/inference/v1/TokenLogprob.js';
import type { TokenLogprobs as _skein_inference_v1_TokenLogprobs, TokenLogprobs__Output as _skein_inference_v1_TokenLogprobs__Output } from './skein/inference/v1/TokenLogprobs.js';
import type { TokenizeRequest as _skein_inference_v1_TokenizeRequest, TokenizeRequest__Output as _skein_inference_v1_TokenizeRequest__Output } from './skein/inference/v1/TokenizeRequest.js';
import type { TokenizeResponse as _skein_inference_v1_TokenizeResponse, TokenizeResponse__Output as _skein_inference_v1_TokenizeResponse__Output } from './skein/inference/v1/TokenizeResponse.js';
import type { Tool as _skein_inference_v1_Tool, Tool__Output as _skein_inference_v1_Tool__Output } from './skein/inference/v1/Tool.js';
import type { ToolCall as _skein_inference_v1_ToolCall, ToolCall__Output as _skein_inference_v1_ToolCall__Output } from './skein/inference/v1/ToolCall.js';
import type { ToolChoice as _skein_inference_v1_ToolChoice, ToolChoice__Output as _skein_inference_v1_ToolChoice__Output } from './skein/inference/v1/ToolChoice.js';
import type { Usage as _skein_inference_v1_Usage, Usage__Output as _skein_inference_v1_Usage__Output } from './skein/inference/v1/Usage.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  skein: {
    inference: {
      v1: {
        AbortRequest: MessageTypeDefinition<_skein_inference_v1_AbortRequest, _skein_inference_v1_AbortRequest__Output>
        AbortResponse: MessageTypeDefinition<_skein_inference_v1_AbortResponse, _skein_inference_v1_AbortResponse__Output>
        ContentPart: MessageTypeDefinition<_skein_inference_v1_ContentPart, _skein_inference_v1_ContentPart__Output>
        DetokenizeRequest: MessageTypeDefinition<_skein_inference_v1_DetokenizeRequest, _skein_inference_v1_DetokenizeRequest__Output>
        DetokenizeResponse: MessageTypeDefinition<_skein_inference_v1_DetokenizeResponse, _skein_inference_v1_DetokenizeResponse__Output>
        FinishReason: EnumTypeDefinition
        GenerateOnceRequest: MessageTypeDefinition<_skein_inference_v1_GenerateOnceRequest, _skein_inference_v1_GenerateOnceRequest__Output>
        GenerateOnceResponse: MessageTypeDefinition<_skein_inference_v1_GenerateOnceResponse, _skein_inference_v1_GenerateOnceResponse__Output>
        GenerateRequest: MessageTypeDefinition<_skein_inference_v1_GenerateRequest, _skein_inference_v1_GenerateRequest__Output>
        GenerateResponse: MessageTypeDefinition<_skein_inference_v1_GenerateResponse, _skein_inference_v1_GenerateResponse__Output>
        GetClusterRequest: MessageTypeDefinition<_skein_inference_v1_GetClusterRequest, _skein_inference_v1_GetClusterRequest__Output>
        GetClusterResponse: MessageTypeDefinition<_skein_inference_v1_GetClusterResponse, _skein_inference_v1_GetClusterResponse__Output>
        GetModelRequest: MessageTypeDefinition<_skein_inference_v1_GetModelRequest, _skein_inference_v1_GetModelRequest__Output>
        GetModelResponse: MessageTypeDefinition<_skein_inference_v1_GetModelResponse, _skein_inference_v1_GetModelResponse__Output>
        InferenceService: SubtypeConstructor<typeof grpc.Client, _skein_inference_v1_InferenceServiceClient> & { service: _skein_inference_v1_InferenceServiceDefinition }
        LogitBias: MessageTypeDefinition<_skein_inference_v1_LogitBias, _skein_inference_v1_LogitBias__Output>
        Message: MessageTypeDefinition<_skein_inference_v1_Message, _skein_inference_v1_Message__Output>
        Picture: MessageTypeDefinition<_skein_inference_v1_Picture, _skein_inference_v1_Picture__Output>
        Rank: MessageTypeDefinition<_skein_inference_v1_Rank, _skein_inference_v1_Rank__Output>
        RankTimings: MessageTypeDefinition<_skein_inference_v1_RankTimings, _skein_inference_v1_RankTimings__Output>
        ResponseFormat: MessageTypeDefinition<_skein_inference_v1_ResponseFormat, _skein_inference_v1_ResponseFormat__Output>
        SamplingOptions: MessageTypeDefinition<_skein_inference_v1_SamplingOptions, _skein_inference_v1_SamplingOptions__Output>
        Timings: MessageTypeDefinition<_skein_inference_v1_Timings, _skein_inference_v1_Timings__Output>
        TokenLogprob: MessageTypeDefinition<_skein_inference_v1_TokenLogprob, _skein_inference_v1_TokenLogprob__Output>
        TokenLogprobs: MessageTypeDefinition<_skein_inference_v1_TokenLogprobs, _skein_inference_v1_TokenLogprobs__Output>
        TokenizeRequest: MessageTypeDefinition<_skein_inference_v1_TokenizeRequest, _skein_inference_v1_TokenizeRequest__Output>
        TokenizeResponse: MessageTypeDefinition<_skein_inference_v1_TokenizeResponse, _skein_inference_v1_TokenizeResponse__Output>
        Tool: MessageTypeDefinition<_skein_inference_v1_Tool, _skein_inference_v1_Tool__Output>
        ToolCall: MessageTypeDefinition<_skein_inference_v1_ToolCall, _skein_inference_v1_ToolCall__Output>
        ToolChoice: MessageTypeDefinition<_skein_inference_v1_ToolChoice, _skein_inference_v1_ToolChoice__Output>
        Usage: MessageTypeDefinition<_skein_inference_v1_Usage, _skein_inference_v1_Usage__Output>
      }
    }
  }
}

