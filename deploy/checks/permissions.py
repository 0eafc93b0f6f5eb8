"""Permissions of the deployer, by IAM's policy simulator.

The simulator knows the policies of the principal and its boundary, not those of resources or sessions. docs/deploy.md
has the same permissions in a table; a test compares them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import describe_error, error_code, is_denied
from deploy.checks.names import KINDS
from deploy.finding import Finding, not_checked, ok, problem, warning
from deploy.stack import Target
from deploy.template import Resource

#: What CloudFormation calls with the deployer's permissions to create, update and delete resources of a type, as in the
#: handlers of the type's schema, without what belongs to properties that the template does not set.
ACTIONS: dict[str, list[str]] = {
    "AWS::Athena::WorkGroup": [
        "athena:CreateWorkGroup", "athena:DeleteWorkGroup", "athena:GetWorkGroup", "athena:TagResource",
        "athena:UpdateWorkGroup",
    ],
    "AWS::Budgets::Budget": ["budgets:ModifyBudget", "budgets:ViewBudget"],
    "AWS::CloudWatch::Alarm": [
        "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource",
    ],
    "AWS::CloudWatch::Dashboard": [
        "cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard",
    ],
    "AWS::DynamoDB::Table": [
        "dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:DescribeContinuousBackups",
        "dynamodb:DescribeContributorInsights", "dynamodb:DescribeKinesisStreamingDestination",
        "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource", "dynamodb:TagResource",
        "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable",
    ],
    "AWS::Events::Rule": [
        "events:DeleteRule", "events:DescribeRule", "events:ListTargetsByRule", "events:PutRule", "events:PutTargets",
        "events:RemoveTargets", "events:TagResource",
    ],
    "AWS::Glue::Database": ["glue:CreateDatabase", "glue:DeleteDatabase", "glue:GetDatabase", "glue:UpdateDatabase"],
    "AWS::IAM::Role": [
        "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:PassRole", "iam:PutRolePolicy", "iam:TagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
    ],
    "AWS::Kinesis::Stream": [
        "kinesis:AddTagsToStream", "kinesis:CreateStream", "kinesis:DeleteStream", "kinesis:DescribeStreamSummary",
        "kinesis:IncreaseStreamRetentionPeriod", "kinesis:ListTagsForResource", "kinesis:ListTagsForStream",
        "kinesis:StartStreamEncryption", "kinesis:UpdateShardCount", "kinesis:UpdateStreamMode",
    ],
    "AWS::Lambda::EventInvokeConfig": [
        "lambda:DeleteFunctionEventInvokeConfig", "lambda:GetFunctionEventInvokeConfig",
        "lambda:PutFunctionEventInvokeConfig", "lambda:UpdateFunctionEventInvokeConfig",
    ],
    "AWS::Lambda::EventSourceMapping": [
        "lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:GetEventSourceMapping",
        "lambda:UpdateEventSourceMapping",
    ],
    "AWS::Lambda::Function": [
        "lambda:CreateFunction", "lambda:DeleteFunction", "lambda:DeleteFunctionConcurrency", "lambda:GetFunction",
        "lambda:GetFunctionCodeSigningConfig", "lambda:GetFunctionRecursionConfig",
        "lambda:GetRuntimeManagementConfig", "lambda:PutFunctionConcurrency", "lambda:PutFunctionRecursionConfig",
        "lambda:TagResource", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
    ],
    "AWS::Lambda::Permission": ["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"],
    "AWS::Lambda::Url": [
        "lambda:CreateFunctionUrlConfig", "lambda:DeleteFunctionUrlConfig", "lambda:GetFunctionUrlConfig",
        "lambda:UpdateFunctionUrlConfig",
    ],
    "AWS::Logs::LogGroup": [
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DescribeLogGroups", "logs:ListTagsForResource",
        "logs:PutRetentionPolicy", "logs:TagResource",
    ],
    "AWS::S3::Bucket": [
        "s3:CreateBucket", "s3:DeleteBucket", "s3:PutBucketNotification", "s3:PutBucketOwnershipControls",
        "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
    ],
    "AWS::S3::BucketPolicy": ["s3:DeleteBucketPolicy", "s3:GetBucketPolicy", "s3:PutBucketPolicy"],
    "AWS::SNS::Subscription": ["sns:GetSubscriptionAttributes", "sns:Subscribe", "sns:Unsubscribe"],
    "AWS::SNS::Topic": [
        "sns:CreateTopic", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:SetTopicAttributes", "sns:TagResource",
    ],
    "AWS::SQS::Queue": [
        "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags",
        "sqs:SetQueueAttributes", "sqs:TagQueue",
    ],
    "AWS::SQS::QueuePolicy": ["sqs:SetQueueAttributes"],
}  # fmt: skip

#: What SAM makes of a function in this template.
SERVERLESS = [
    "AWS::Lambda::Function", "AWS::Lambda::Url", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission", "AWS::Events::Rule",
]  # fmt: skip

#: What `sam deploy` itself calls, for the stack and for the change sets of the transform.
STACK_ACTIONS = [
    "cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents",
    "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet", "cloudformation:GetTemplateSummary",
]  # fmt: skip
#: What `sam deploy`, and Lambda for it, call for the functions' code in SAM's bucket.
CODE_ACTIONS = ["s3:GetObject", "s3:PutObject"]

_ADVICE = 'give the deployer the permissions of docs/deploy.md, "Permissions of the deployer"'
#: A suffix like those that CloudFormation and SAM add to names.
_SUFFIX = "example00000"


@dataclass(frozen=True)
class Question:
    """Actions on an example of a resource."""

    actions: tuple[str, ...]
    arn: str
    context: tuple[tuple[str, str], ...] = ()


def check(target: Target) -> Iterator[Finding]:
    """Simulates the deployer's permissions on every kind of resource that the stack has."""
    principal = _principal(target)
    if principal is None:
        yield not_checked("permissions", f"IAM cannot simulate {target.caller}", _ADVICE)
        return
    asked = refused = 0
    for role, questions in _plan(target, principal):
        for question in questions:
            try:
                answers = list(_simulate(target, role, question))
            except (BotoCoreError, ClientError) as error:
                why = f"iam:SimulatePrincipalPolicy: {error_code(error) if is_denied(error) else describe_error(error)}"
                yield not_checked("permissions", why, f"compare them with docs/deploy.md; {_ADVICE}")
                return
            denied = [action for action, is_allowed, lacks_context in answers if not is_allowed and not lacks_context]
            unsure = [action for action, is_allowed, lacks_context in answers if not is_allowed and lacks_context]
            asked, refused = asked + len(answers), refused + len(denied) + len(unsure)
            if denied:
                text = f"IAM's simulator denies on {question.arn}: {', '.join(denied)}"
                yield problem("permissions", text, _ADVICE)
            if unsure:
                text = f"IAM's simulator denies on {question.arn}, without knowing all conditions: {', '.join(unsure)}"
                yield warning("permissions", text, "check the conditions of the policies that allow them")
    if not refused:
        yield ok("permissions", f"IAM's simulator allows all {asked} actions of a deployment")


def _principal(target: Target) -> str | None:
    """The ARN of the user or role behind the caller; None if the simulator takes none."""
    kind, _, rest = target.caller.split(":", 5)[5].partition("/")
    if kind in ("user", "role"):
        return target.caller
    if kind != "assumed-role":
        return None
    name = rest.split("/")[0]
    try:
        # A role's path is not in the ARN of its sessions.
        return target.account.client("iam").get_role(RoleName=name)["Role"]["Arn"]
    except (BotoCoreError, ClientError):
        return f"arn:{target.partition}:iam::{target.account_id}:role/{name}"


def _plan(target: Target, principal: str) -> Iterator[tuple[str, list[Question]]]:
    """The questions for the deployer, and for the role of CloudFormation if there is one."""
    region, account, partition = target.account.region, target.account_id, target.partition
    stack = f"arn:{partition}:cloudformation:{region}:{account}:stack/{target.name}/{_SUFFIX}"
    bucket = f"arn:{partition}:s3:::aws-sam-cli-managed-default-samclisourcebucket-{_SUFFIX}"
    # The transform is a resource of its own (Service Authorization Reference, "Actions, resources, and condition keys
    # for AWS CloudFormation").
    transform = f"arn:{partition}:cloudformation:{region}:aws:transform/Serverless-2016-10-31"
    own = [
        Question(tuple(STACK_ACTIONS), stack),
        Question(("cloudformation:CreateChangeSet",), transform),
        Question(tuple(CODE_ACTIONS), f"{bucket}/code"),
    ]
    if target.role:
        passed = (("iam:PassedToService", "cloudformation.amazonaws.com"),)
        yield principal, [*own, Question(("iam:PassRole",), target.role, passed)]
        yield target.role, list(_ask_resources(target))
    else:
        yield principal, [*own, *_ask_resources(target)]


def _ask_resources(target: Target) -> Iterator[Question]:
    """One question for each type, about the first resource of that type."""
    seen: set[str] = set()
    for resource in target.resources:
        types = SERVERLESS if resource.type == "AWS::Serverless::Function" else [resource.type]
        for type_ in types:
            if type_ in seen or type_ not in ACTIONS:
                continue
            seen.add(type_)
            arn = _example(target, resource, type_)
            actions = tuple(action for action in ACTIONS[type_] if action != "iam:PassRole")
            yield Question(actions, arn)
            if len(actions) < len(ACTIONS[type_]):
                yield Question(("iam:PassRole",), arn, (("iam:PassedToService", "lambda.amazonaws.com"),))


def _example(target: Target, resource: Resource, type_: str) -> str:
    """The ARN of a resource, or of one with a name like those that CloudFormation generates."""
    kind = KINDS.get(resource.type)
    generated = f"{target.name}-{resource.logical_id}-{_SUFFIX}"
    name = str((kind and resource.find(kind.path)) or generated)
    service = type_.split("::")[1].lower()
    regional = f"arn:{target.partition}:{service}:{target.account.region}:{target.account_id}"
    match type_:
        case "AWS::S3::Bucket" | "AWS::S3::BucketPolicy":
            return f"arn:{target.partition}:s3:::{generated.lower()}"
        case "AWS::IAM::Role":
            return f"arn:{target.partition}:iam::{target.account_id}:role/{name}"
        case "AWS::Budgets::Budget":
            return f"arn:{target.partition}:budgets::{target.account_id}:budget/{name}"
        case "AWS::CloudWatch::Dashboard":
            return f"arn:{target.partition}:cloudwatch::{target.account_id}:dashboard/{name}"
        case "AWS::Lambda::EventSourceMapping":
            return f"{regional}:event-source-mapping:{_SUFFIX}"
        case "AWS::Lambda::Function" | "AWS::Lambda::Url" | "AWS::Lambda::EventInvokeConfig":
            return f"{regional}:function:{name}"
        case "AWS::Lambda::Permission":
            return f"{regional}:function:{target.name}-{_SUFFIX}"
        case "AWS::Logs::LogGroup":
            return f"{regional}:log-group:{name}:*"
        case "AWS::CloudWatch::Alarm":
            return f"{regional}:alarm:{name}"
        case "AWS::SQS::Queue" | "AWS::SQS::QueuePolicy" | "AWS::SNS::Topic" | "AWS::SNS::Subscription":
            return f"{regional}:{name}"
        case "AWS::Glue::Database":
            return f"{regional}:database/{name}"
        case "AWS::Events::Rule":
            return f"{regional}:rule/{generated}"
        case _:
            return f"{regional}:{type_.split('::')[2].lower()}/{name}"


def _simulate(target: Target, role: str, question: Question) -> Iterator[tuple[str, bool, bool]]:
    """Each action, whether it is allowed, and whether the policies have conditions that the simulator was not told."""
    answer = target.account.client("iam").simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=list(question.actions),
        ResourceArns=[question.arn],
        ContextEntries=[
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in question.context
        ],
    )
    for found in answer["EvaluationResults"]:
        yield found["EvalActionName"], found["EvalDecision"] == "allowed", bool(found.get("MissingContextValues"))
