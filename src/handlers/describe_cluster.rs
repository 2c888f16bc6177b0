//! DescribeCluster, versions 0 to 2. Left out: controllers as an endpoint type (there is no separate
//! controller to connect to), authorised operations.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, text, wire_broker};

const ENDPOINTS_OF_BROKERS: i8 = 1;

/// Describes the one broker.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeClusterRequest = context.decode()?;
    let broker_id = wire_broker(context.broker.broker_id());
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(text(context.broker.metadata().cluster_id()))
        .with_controller_id(broker_id);
    if context.version() >= 1 {
        response = response.with_endpoint_type(request.endpoint_type);
        if request.endpoint_type != ENDPOINTS_OF_BROKERS {
            let code = ErrorCode::UnsupportedEndpointType;
            let why = "this is a broker's endpoint; ask for brokers (endpoint type 1)";
            response = response.with_error_code(code.code()).with_error_message(message(code, why));
            return context.respond(&response);
        }
    }
    let (host, port) = context.advertised();
    let broker =
        DescribeClusterBroker::default().with_broker_id(broker_id).with_host(text(host)).with_port(port);
    context.respond(&response.with_brokers(vec![broker]))
}
