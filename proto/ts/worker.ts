import type * as grpc from '@grpc/grpc-js';
import type { EnumTypeDefinition, MessageTypeDefinition } from '@grpc/proto-loader';

import type { AbortRequest as _skein_worker_v1_AbortRequest, AbortRequest__Output as _skein_worker_v1_AbortRequest__Output } from './skein/worker/v1/AbortRequest.js';
import type { AbortResponse as _skein_worker_v1_AbortResponse, AbortResponse__Output as _skein_worker_v1_AbortResponse__Output } from './skein/worker/v1/AbortResponse.js';
import type { DescribeRequest as _skein_worker_v1_DescribeRequest, DescribeRequest__Output as _skein_worker_v1_DescribeRequest__Output } from './skein/worker/v1/DescribeRequest.js';
import type { DescribeResponse as _skein_worker_v1_DescribeResponse, DescribeResponse__Output as _skein_worker_v1_DescribeResponse__Output } from './skein/worker/v1/DescribeResponse.js';
import type { EncodeItem as _skein_worker_v1_EncodeItem, EncodeItem__Output as _skein_worker_v1_EncodeItem__Output } from './skein/worker/v1/EncodeItem.js';
import type { ExecuteRequest as _skein_worker_v1_ExecuteRequest, ExecuteRequest__Output as _skein_worker_v1_ExecuteRequest__Output } from './skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse as _skein_worker_v1_ExecuteResponse, ExecuteResponse__Output as _skein_worker_v1_ExecuteResponse__Output } from './skein/worker/v1/ExecuteResponse.js';
import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from './skein/worker/v1/Fence.js';
import type { JoinGroupRequest as _skein_worker_v1_JoinGroupRequest, JoinGroupRequest__Output as _skein_worker_v1_JoinGroupRequest__Output } from './skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse as _skein_worker_v1_JoinGroupResponse, JoinGroupResponse__Output as _skein_worker_v1_JoinGroupResponse__Output } from './skein/worker/v1/JoinGroupResponse.js';
import type { LoadProgress as _skein_worker_v1_LoadProgress, LoadProgress__Output as _skein_worker_v1_LoadProgress__Output } from './skein/worker/v1/LoadProgress.js';
import type { LoadRequest as _skein_worker_v1_LoadRequest, LoadRequest__Output as _skein_worker_v1_LoadRequest__Output } from './skein/worker/v1/LoadRequest.js';
import type { LoadResponse as _skein_worker_v1_LoadResponse, LoadResponse__Output as _skein_worker_v1_LoadResponse__Output } from './skein/worker/v1/LoadResponse.js';
import type { LoadResult as _skein_worker_v1_LoadResult, LoadResult__Output as _skein_worker_v1_LoadResult__Output } from './skein/worker/v1/LoadResult.js';
import type { LoadTimes as _skein_worker_v1_LoadTimes, LoadTimes__Output as _skein_worker_v1_LoadTimes__Output } from './skein/worker/v1/LoadTimes.js';
import type { NewSequence as _skein_worker_v1_NewSequence, NewSequence__Output as _skein_worker_v1_NewSequence__Output } from './skein/worker/v1/NewSequence.js';
import type { PicturePlacement as _skein_worker_v1_PicturePlacement, PicturePlacement__Output as _skein_worker_v1_PicturePlacement__Output } from './skein/worker/v1/PicturePlacement.js';
import type { PrepareGroupRequest as _skein_worker_v1_PrepareGroupRequest, PrepareGroupRequest__Output as _skein_worker_v1_PrepareGroupRequest__Output } from './skein/worker/v1/PrepareGroupRequest.js';
import type { PrepareGroupResponse as _skein_worker_v1_PrepareGroupResponse, PrepareGroupResponse__Output as _skein_worker_v1_PrepareGroupResponse__Output } from './skein/worker/v1/PrepareGroupResponse.js';
import type { PutPixelsRequest as _skein_worker_v1_PutPixelsRequest, PutPixelsRequest__Output as _skein_worker_v1_PutPixelsRequest__Output } from './skein/worker/v1/PutPixelsRequest.js';
import type { PutPixelsResponse as _skein_worker_v1_PutPixelsResponse, PutPixelsResponse__Output as _skein_worker_v1_PutPixelsResponse__Output } from './skein/worker/v1/PutPixelsResponse.js';
import type { RankLayout as _skein_worker_v1_RankLayout, RankLayout__Output as _skein_worker_v1_RankLayout__Output } from './skein/worker/v1/RankLayout.js';
import type { RankTensor as _skein_worker_v1_RankTensor, RankTensor__Output as _skein_worker_v1_RankTensor__Output } from './skein/worker/v1/RankTensor.js';
import type { SamplingParams as _skein_worker_v1_SamplingParams, SamplingParams__Output as _skein_worker_v1_SamplingParams__Output } from './skein/worker/v1/SamplingParams.js';
import type { SharedFile as _skein_worker_v1_SharedFile, SharedFile__Output as _skein_worker_v1_SharedFile__Output } from './skein/worker/v1/SharedFile.js';
import type { ShutDownRequest as _skein_worker_v1_ShutDownRequest, ShutDownRequest__Output as _skein_worker_v1_ShutDownRequest__Output } from './skein/worker/v1/ShutDownRequest.js';
import type { ShutDownResponse as _skein_worker_v1_ShutDownResponse, ShutDownResponse__Output as _skein_worker_v1_ShutDownResponse__Output } from './skein/worker/v1/ShutDownResponse.js';
import type { SignOfLife as _skein_worker_v1_SignOfLife, SignOfLife__Output as _skein_worker_v1_SignOfLife__Output } from './skein/worker/v1/SignOfLife.js';
import type { Slice as _skein_worker_v1_Slice, Slice__Output as _skein_worker_v1_Slice__Output } from './skein/worker/v1/Slice.js';
import type { StepPlan as _skein_worker_v1_StepPlan, StepPlan__Output as _skein_worker_v1_StepPlan__Output } from './skein/worker/v1/StepPlan.js';
import type { StepProgress as _skein_worker_v1_StepProgress, StepProgress__Output as _skein_worker_v1_StepProgress__Output } from './skein/worker/v1/StepProgress.js';
import type { StepResult as _skein_worker_v1_StepResult, StepResult__Output as _skein_worker_v1_StepResult__Output } from './skein/worker/v1/StepResult.js';
import type { StepsOpened as _skein_worker_v1_StepsOpened, StepsOpened__Output as _skein_worker_v1_StepsOpened__Output } from './skein/worker/v1/StepsOpened.js';
import type { TextSpec as _skein_worker_v1_TextSpec, TextSpec__Output as _skein_worker_v1_TextSpec__Output } from './skein/worker/v1/TextSpec.js';
import type { VisionSpec as _skein_worker_v1_VisionSpec, VisionSpec__Output as _skein_worker_v1_VisionSpec__Output } from './skein/worker/v1/VisionSpec.js';
import type { WeightFile as _skein_worker_v1_WeightFile, WeightFile__Output as _skein_worker_v1_WeightFile__Output } from './skein/worker/v1/WeightFile.js';
import type { WorkerServiceClient as _skein_worker_v1_WorkerServiceClient, WorkerServiceDefinition as _skein_worker_v1_WorkerServiceDefinition } from './skein/worker/v1/WorkerService.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  skein: {
    worker: {
      v1: {
        AbortRequest: MessageTypeDefinition<_skein_worker_v1_AbortRequest, _skein_worker_v1_AbortRequest__Output>
        AbortResponse: MessageTypeDefinition<_skein_worker_v1_AbortResponse, _skein_worker_v1_AbortResponse__Output>
        CollectiveKind: EnumTypeDefinition
        DataType: EnumTypeDefinition
        DescribeRequest: MessageTypeDefinition<_skein_worker_v1_DescribeRequest, _skein_worker_v1_DescribeRequest__Output>
        DescribeResponse: MessageTypeDefinition<_skein_worker_v1_DescribeResponse, _skein_worker_v1_DescribeResponse__Output>
        EncodeItem: MessageTypeDefinition<_skein_worker_v1_EncodeItem, _skein_worker_v1_EncodeItem__Output>
        EnginePhase: EnumTypeDefinition
        ExecuteRequest: MessageTypeDefinition<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteRequest__Output>
        ExecuteResponse: MessageTypeDefinition<_skein_worker_v1_ExecuteResponse, _skein_worker_v1_ExecuteResponse__Output>
        Fence: MessageTypeDefinition<_skein_worker_v1_Fence, _skein_worker_v1_Fence__Output>
        JoinGroupRequest: MessageTypeDefinition<_skein_worker_v1_JoinGroupRequest, _skein_worker_v1_JoinGroupRequest__Output>
        JoinGroupResponse: MessageTypeDefinition<_skein_worker_v1_JoinGroupResponse, _skein_worker_v1_JoinGroupResponse__Output>
        LoadProgress: MessageTypeDefinition<_skein_worker_v1_LoadProgress, _skein_worker_v1_LoadProgress__Output>
        LoadRequest: MessageTypeDefinition<_skein_worker_v1_LoadRequest, _skein_worker_v1_LoadRequest__Output>
        LoadResponse: MessageTypeDefinition<_skein_worker_v1_LoadResponse, _skein_worker_v1_LoadResponse__Output>
        LoadResult: MessageTypeDefinition<_skein_worker_v1_LoadResult, _skein_worker_v1_LoadResult__Output>
        LoadTimes: MessageTypeDefinition<_skein_worker_v1_LoadTimes, _skein_worker_v1_LoadTimes__Output>
        NewSequence: MessageTypeDefinition<_skein_worker_v1_NewSequence, _skein_worker_v1_NewSequence__Output>
        NormType: EnumTypeDefinition
        PicturePlacement: MessageTypeDefinition<_skein_worker_v1_PicturePlacement, _skein_worker_v1_PicturePlacement__Output>
        PrepareGroupRequest: MessageTypeDefinition<_skein_worker_v1_PrepareGroupRequest, _skein_worker_v1_PrepareGroupRequest__Output>
        PrepareGroupResponse: MessageTypeDefinition<_skein_worker_v1_PrepareGroupResponse, _skein_worker_v1_PrepareGroupResponse__Output>
        PutPixelsRequest: MessageTypeDefinition<_skein_worker_v1_PutPixelsRequest, _skein_worker_v1_PutPixelsRequest__Output>
        PutPixelsResponse: MessageTypeDefinition<_skein_worker_v1_PutPixelsResponse, _skein_worker_v1_PutPixelsResponse__Output>
        RankLayout: MessageTypeDefinition<_skein_worker_v1_RankLayout, _skein_worker_v1_RankLayout__Output>
        RankTensor: MessageTypeDefinition<_skein_worker_v1_RankTensor, _skein_worker_v1_RankTensor__Output>
        SamplingParams: MessageTypeDefinition<_skein_worker_v1_SamplingParams, _skein_worker_v1_SamplingParams__Output>
        SharedFile: MessageTypeDefinition<_skein_worker_v1_SharedFile, _skein_worker_v1_SharedFile__Output>
        ShutDownRequest: MessageTypeDefinition<_skein_worker_v1_ShutDownRequest, _skein_worker_v1_ShutDownRequest__Output>
        ShutDownResponse: MessageTypeDefinition<_skein_worker_v1_ShutDownResponse, _skein_worker_v1_ShutDownResponse__Output>
        SignOfLife: MessageTypeDefinition<_skein_worker_v1_SignOfLife, _skein_worker_v1_SignOfLife__Output>
        Slice: MessageTypeDefinition<_skein_worker_v1_Slice, _skein_worker_v1_Slice__Output>
        StepPlan: MessageTypeDefinition<_skein_worker_v1_StepPlan, _skein_worker_v1_StepPlan__Output>
        StepProgress: MessageTypeDefinition<_skein_worker_v1_StepProgress, _skein_worker_v1_StepProgress__Output>
        StepResult: MessageTypeDefinition<_skein_worker_v1_StepResult, _skein_worker_v1_StepResult__Output>
        StepsOpened: MessageTypeDefinition<_skein_worker_v1_StepsOpened, _skein_worker_v1_StepsOpened__Output>
        TensorPart: EnumTypeDefinition
        TensorRole: EnumTypeDefinition
        TextSpec: MessageTypeDefinition<_skein_worker_v1_TextSpec, _skein_worker_v1_TextSpec__Output>
        VisionParallel: EnumTypeDefinition
        VisionSpec: MessageTypeDefinition<_skein_worker_v1_VisionSpec, _skein_worker_v1_VisionSpec__Output>
        WeightFile: MessageTypeDefinition<_skein_worker_v1_WeightFile, _skein_worker_v1_WeightFile__Output>
        WorkerService: SubtypeConstructor<typeof grpc.Client, _skein_worker_v1_WorkerServiceClient> & { service: _skein_worker_v1_WorkerServiceDefinition }
      }
    }
  }
}

