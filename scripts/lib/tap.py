"""A TCP relay in front of a broker that notes which requests pass. For finding out what a client needs.

The broker must advertise the relay's address. Understands only the size and the first two bytes of requests.
"""

import asyncio
import threading

APIS = """Produce Fetch ListOffsets Metadata LeaderAndIsr StopReplica UpdateMetadata ControlledShutdown OffsetCommit OffsetFetch
FindCoordinator JoinGroup Heartbeat LeaveGroup SyncGroup DescribeGroups ListGroups SaslHandshake ApiVersions CreateTopics DeleteTopics
DeleteRecords InitProducerId OffsetForLeaderEpoch AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit
DescribeAcls CreateAcls DeleteAcls DescribeConfigs AlterConfigs AlterReplicaLogDirs DescribeLogDirs SaslAuthenticate CreatePartitions
CreateDelegationToken RenewDelegationToken ExpireDelegationToken DescribeDelegationToken DeleteGroups ElectLeaders
IncrementalAlterConfigs AlterPartitionReassignments ListPartitionReassignments OffsetDelete DescribeClientQuotas AlterClientQuotas
DescribeUserScramCredentials AlterUserScramCredentials Vote BeginQuorumEpoch EndQuorumEpoch DescribeQuorum AlterPartition
UpdateFeatures Envelope FetchSnapshot DescribeCluster DescribeProducers BrokerRegistration BrokerHeartbeat UnregisterBroker
DescribeTransactions ListTransactions AllocateProducerIds ConsumerGroupHeartbeat ConsumerGroupDescribe ControllerRegistration
GetTelemetrySubscriptions PushTelemetry AssignReplicasToDirs ListConfigResources DescribeTopicPartitions ShareGroupHeartbeat
ShareGroupDescribe ShareFetch ShareAcknowledge""".split()


class Tap:
    """Relays from `port` to `target`; `take()` gives the names seen since the last call."""

    def __init__(self, port, target):
        self.port, self.target, self.seen = port, target, set()
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait(10)

    def take(self):
        seen, self.seen = self.seen, set()
        return sorted(seen)

    async def _serve(self, ready):
        server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        ready.set()
        async with server:
            await server.serve_forever()

    async def _client(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, up_writer, self._parser()), self._pass(up_reader, writer, None))

    async def _pass(self, reader, writer, parser):
        try:
            while data := await reader.read(1 << 17):
                if parser:
                    parser(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def _parser(self):
        head, skip = bytearray(), 0

        def parse(data):
            nonlocal skip
            at = 0
            while at < len(data):
                step = min(skip, len(data) - at)
                skip -= step
                at += step
                if at >= len(data):
                    return
                step = min(6 - len(head), len(data) - at)
                head.extend(data[at:at + step])
                at += step
                if len(head) == 6:
                    key = int.from_bytes(head[4:6], "big")
                    self.seen.add(APIS[key] if key < len(APIS) else f"api{key}")
                    skip = max(0, int.from_bytes(head[:4], "big") - 2)
                    head.clear()
        return parse
