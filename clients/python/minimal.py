import asyncio, nats, numpy as np

DTYPES = {"FP32": "<f4", "FP16": "<f2", "BF16": "<u2", "UINT8": "u1", "INT8": "i1"}

async def main():
    client = await nats.connect("nats://127.0.0.1:4222")
    async for msg in (await client.subscribe("cvf.t.>")).messages:
        if not msg.data: continue    # an inline gap: slots without a tensor
        shape = [int(n) for n in msg.headers["Cvf-Shape"].split(",")]
        x = np.frombuffer(msg.data, DTYPES[msg.headers["Cvf-Dtype"]]).reshape(shape)
        print(msg.subject, msg.headers["Cvf-Time"], x.dtype, x.shape, x.mean(dtype="f8"))

asyncio.run(main())
