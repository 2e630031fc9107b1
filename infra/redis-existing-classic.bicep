// An Azure Cache for Redis (Basic, Standard, Premium) that is there already: what the app must know of it, and a right to
// use it that is no wider than docs/operate.md's list of commands. The cache must take Entra tokens ("aad-enabled").
param name string

@description('Whom to let in. Empty: nobody, as the app has a password.')
param principalId string
param streamName string
param hashKey string

@description('FORWARD_STREAM: the stream that entries are forwarded to. Empty: none.')
param forwardStream string = ''

// A test compares the list with the one in docs/operate.md, and another one works under this policy. Where Redis has
// subcommands, only those that are needed are allowed: with `acl` alone a user could give itself every right (Redis 6.0
// takes subcommands in rules, and the service's own policies have `+cluster|slots`).
var commands = [
  'xpending', 'xclaim', 'xack', 'xrange', 'set', 'get', 'pttl', 'pexpire', 'expire', 'del', 'unlink', 'eval', 'evalsha', 'hset'
  'hget', 'hmget', 'hgetall', 'hdel', 'hincrby', 'hlen', 'hscan', 'time', 'zadd', 'zcard', 'zcount', 'zremrangebyscore', 'xadd', 'xlen'
  'xdel', 'xrevrange', 'type', 'multi', 'exec', 'discard', 'info', 'wait', 'asking'
  'acl|whoami', 'cluster|slots', 'xgroup|delconsumer', 'xinfo|consumers', 'xinfo|groups', 'xinfo|stream'
]

// The stream, reclaim's own keys (they begin with the stream's name, in braces if it has none), the hashes, and the stream
// that entries are forwarded to.
var keys = concat(
  ['~${streamName}', '~${streamName}:reclaim:*', '~{${streamName}}:reclaim:*', '~${first(split(hashKey, '{'))}*'],
  empty(forwardStream) ? [] : ['~${forwardStream}']
)

resource cache 'Microsoft.Cache/redis@2024-11-01' existing = {
  name: name
}

resource policy 'Microsoft.Cache/redis/accessPolicies@2024-11-01' = if (!empty(principalId)) {
  parent: cache
  name: 'reclaim'
  properties: {
    permissions: '+${join(commands, ' +')} ${join(keys, ' ')}'
  }
}

resource access 'Microsoft.Cache/redis/accessPolicyAssignments@2024-11-01' = if (!empty(principalId)) {
  parent: cache
  name: 'reclaim'
  properties: {
    accessPolicyName: policy.name
    objectId: principalId
    objectIdAlias: 'reclaim'
  }
}

output host string = '${cache.properties.hostName}:${cache.properties.sslPort}'
output cluster string = (cache.properties.?shardCount ?? 0) > 0 ? 'true' : 'false'
