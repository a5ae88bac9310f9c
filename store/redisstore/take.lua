-- KEYS[1] bucket; ARGV[1] tokens regained each second, ARGV[2] size of the bucket
-- A bucket is its tokens and when it had them, in microseconds since 1970, as two
-- doubles. One that is full has no key. Returns what was left where the request is
-- allowed, else what there is, and the time.
local call, time = redis.call, redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, burst = ARGV[1] + 0, ARGV[2] + 0
local tokens, at, have = burst, now, burst
local bucket = call('GET', KEYS[1])
if bucket then
  tokens, at = struct.unpack('<dd', bucket)
  have = tokens
  if now > at then
    have = tokens + (now - at) * rate / 1000000
  end
  if have > burst then
    have = burst
  end
end
local allowed = have >= 1
if allowed then
  have = have - 1
end
-- A refusal writes nothing, unless the clock has stepped back and the bucket would
-- stand still until it is there again.
if allowed or now < at then
  bucket = struct.pack('<dd', have, now)
  local expires = math.ceil((burst - have) / rate * 1000)
  if expires > 3153600000000 then
    expires = 3153600000000
  end
  expires = expires + 100
  call('SET', KEYS[1], bucket, 'PX', expires)
end
if allowed then
  return bucket
end
return bucket .. struct.pack('<d', now)
